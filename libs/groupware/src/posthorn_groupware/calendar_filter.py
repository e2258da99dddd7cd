"""CalDAV filters over calendar objects (RFC 4791 7.8, 9.7): pure, bounded in the number of occurrences looked at."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import icalendar
import recurring_ical_events
from icalendar import vBroken

from posthorn_groupware.calendar_object import CalendarObject, instant
from posthorn_groupware.filters import ParamFilter, TextMatch

MAX_OCCURRENCES = 10_000
_EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
_LATEST = datetime(9999, 12, 30, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A half-open range [start, end); None is open."""

    start: datetime | None = None
    end: datetime | None = None

    def overlaps(self, start: datetime, end: datetime) -> bool:
        """Whether [start, end) overlaps; an instant (start == end) counts when it lies inside."""
        after = self.start is None or end > self.start or (start == end == self.start)
        return after and (self.end is None or start < self.end)


@dataclass(frozen=True, slots=True)
class PropFilter:
    """A prop-filter: presence, time range, text and parameters of a property."""

    name: str
    is_not_defined: bool = False
    time_range: TimeRange | None = None
    text: TextMatch | None = None
    params: tuple[ParamFilter, ...] = ()

    def matches(self, component: icalendar.Component) -> bool:
        """Whether one value of the property in the component matches."""
        found = component.get(self.name)
        values = found if isinstance(found, list) else [] if found is None else [found]
        if self.is_not_defined:
            return not values
        return any(self._matches_value(value) for value in values)

    def _matches_value(self, value: Any) -> bool:
        if self.time_range is not None:
            moment = None if isinstance(value, vBroken) else getattr(value, "dt", None)
            if moment is None or isinstance(moment, timedelta | tuple):
                return False
            when = instant(moment)
            if not self.time_range.overlaps(when, when):
                return False
        if self.text is not None and not self.text.matches(_text(value)):
            return False
        params = getattr(value, "params", {})
        return all(f.matches(_param(params.get(f.name.upper()))) for f in self.params)


@dataclass(frozen=True, slots=True)
class CompFilter:
    """A comp-filter: presence, time range, properties and sub-components of a component."""

    name: str
    is_not_defined: bool = False
    time_range: TimeRange | None = None
    props: tuple[PropFilter, ...] = ()
    comps: tuple["CompFilter", ...] = ()

    def matches(self, item: CalendarObject) -> bool:
        """Whether the calendar object matches; this filter is the one for VCALENDAR."""
        if self.name.upper() != "VCALENDAR":
            return False
        return _matches_inside(self, item.calendar, item)


def _matches_inside(wanted: CompFilter, component: icalendar.Component, item: CalendarObject) -> bool:
    if not all(prop.matches(component) for prop in wanted.props):
        return False
    for inner in wanted.comps:
        found = [part for part in component.subcomponents if part.name == inner.name.upper()]
        if inner.is_not_defined:
            if found:
                return False
        elif not any(_matches_component(inner, part, item) for part in found):
            return False
    return True


def _matches_component(wanted: CompFilter, part: icalendar.Component, item: CalendarObject) -> bool:
    if wanted.time_range is not None:
        hits = (
            alarms_overlap(part, wanted.time_range, item) if part.name == "VALARM" else happens(item, wanted.time_range)
        )
        if not hits:
            return False
    return _matches_inside(wanted, part, item)


def happens(item: CalendarObject, wanted: TimeRange) -> bool:
    """Whether an occurrence of the object overlaps the range (RFC 4791 9.9)."""
    return next(occurrences(item, wanted), None) is not None


def occurrences(item: CalendarObject, wanted: TimeRange) -> Iterator[icalendar.Component]:
    """The occurrences that overlap the range, in their order, at most MAX_OCCURRENCES."""
    if item.component == "VTODO" and not any(
        part.get("DTSTART") or part.get("DUE") for part in item.calendar.walk("VTODO")
    ):
        # RFC 4791 9.9: a to-do without any time overlaps every range.
        yield from item.calendar.walk("VTODO")
        return
    query = recurring_ical_events.of(item.calendar, components=[item.component], skip_bad_series=True)
    start = wanted.start or item.starts_at or _EARLIEST
    try:
        for found in islice(query.after(max(start, _EARLIEST)), MAX_OCCURRENCES):
            begins, ends = span(found)
            if begins >= (wanted.end or _LATEST):
                return
            if wanted.overlaps(begins, ends):
                yield found
    except (OverflowError, ValueError):
        # Times beyond what the calendar can count (year 9999 and the like): nothing more to find.
        return


def span(part: icalendar.Component) -> tuple[datetime, datetime]:
    """Start and end of one occurrence; dates and floating times are taken as UTC."""
    begins = part.get("DTSTART") or part.get("DUE")
    ends = part.get("DTEND") or part.get("DUE")
    start = instant(begins.dt)
    if ends is not None:
        return start, max(instant(ends.dt), start)
    duration = getattr(part.get("DURATION"), "dt", None)
    if isinstance(duration, timedelta):
        return start, max(start + duration, start)
    return start, start + (timedelta() if isinstance(begins.dt, datetime) else timedelta(days=1))


def alarms_overlap(alarm: icalendar.Component, wanted: TimeRange, item: CalendarObject) -> bool:
    """Whether an alarm goes off in the range: absolute, or relative to an occurrence's start or end."""
    trigger = alarm.get("TRIGGER")
    if trigger is None:
        return False
    if not isinstance(trigger.dt, timedelta):
        when = instant(trigger.dt)
        return wanted.overlaps(when, when)
    related = str(trigger.params.get("RELATED", "START")).upper()
    shifted = TimeRange(
        wanted.start - trigger.dt - timedelta(days=1) if wanted.start else None,
        wanted.end - trigger.dt + timedelta(days=1) if wanted.end else None,
    )
    for found in occurrences(item, shifted):
        begins, ends = span(found)
        when = (ends if related == "END" else begins) + trigger.dt
        if wanted.overlaps(when, when):
            return True
    return False


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    raw = value.to_ical() if hasattr(value, "to_ical") else value
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)


def _param(value: Any) -> list[str] | None:
    if value is None:
        return None
    return [str(single) for single in value] if isinstance(value, list) else [str(value)]
