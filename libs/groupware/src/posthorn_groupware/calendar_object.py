"""One calendar object resource: validation (RFC 4791 4.1) and the facts that the store keeps beside it.

Refuses what no calendar client needs and what only hurts: objects of more than one UID, too many components, rules that
recur every second or minute.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import icalendar
from icalendar.error import BrokenCalendarProperty

from posthorn_model.errors import InvalidContent

MAX_COMPONENTS = 2_000
KINDS = ("VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY")
# Floating times and dates have no zone of their own: the bounds are widened by the largest offset there is.
ZONE_MARGIN = timedelta(hours=14)


@dataclass(frozen=True, slots=True)
class CalendarObject:
    """A parsed calendar object. `starts_at` and `ends_at` bound all its occurrences; None: unknown or without end."""

    uid: str
    component: str
    starts_at: datetime | None
    ends_at: datetime | None
    calendar: icalendar.Calendar


def parse(content: bytes) -> CalendarObject:
    """Parse and validate. Raises InvalidContent with a sentence for people."""
    calendar = _calendar(content)
    if calendar.get("METHOD") is not None:
        raise InvalidContent("a stored calendar object must not carry METHOD (RFC 4791 4.1)")
    components = [part for part in calendar.subcomponents if part.name != "VTIMEZONE"]
    kinds = {str(part.name) for part in components}
    if len(kinds) != 1 or not kinds <= set(KINDS):
        raise InvalidContent("a calendar object holds components of exactly one kind: VEVENT, VTODO or VJOURNAL")
    uids = {str(part.get("UID", "")) for part in components}
    if len(uids) != 1 or not min(uids):
        raise InvalidContent("all components of a calendar object share one UID, which must not be empty")
    try:
        for part in components:
            _check_rules(part)
            _check_once(part)
        starts_at, ends_at = _bounds(components)
    except BrokenCalendarProperty as error:
        raise InvalidContent(f"not valid iCalendar: {error}") from error
    return CalendarObject(uids.pop(), kinds.pop(), starts_at, ends_at, calendar)


def _calendar(content: bytes) -> icalendar.Calendar:
    if content.upper().count(b"BEGIN:") > MAX_COMPONENTS:
        raise InvalidContent(f"more than {MAX_COMPONENTS} components")
    try:
        found: Any = icalendar.Calendar.from_ical(content, multiple=True)
    except (ValueError, KeyError, IndexError, AttributeError, TypeError, RecursionError) as error:
        raise InvalidContent(f"not valid iCalendar: {error}") from error
    if len(found) != 1 or not isinstance(found[0], icalendar.Calendar):
        raise InvalidContent("a calendar object is exactly one VCALENDAR")
    return found[0]


def _check_rules(part: icalendar.Component) -> None:
    for rule in rules(part):
        if {"SECONDLY", "MINUTELY"} & {str(freq).upper() for freq in rule.get("FREQ", [])}:
            raise InvalidContent("rules that recur every second or minute are not stored")


def _check_once(part: icalendar.Component) -> None:
    for name in ("DTSTART", "DTEND", "DUE", "DURATION", "RECURRENCE-ID", "RRULE"):
        value = part.get(name)
        if isinstance(value, list):
            raise InvalidContent(f"{name} may occur only once in a component (RFC 5545 3.6)")
        moment = getattr(value, "dt", None)
        if value is not None and name != "RRULE" and not isinstance(moment, date | timedelta):
            raise InvalidContent(f"{name} is not a date or time")
    if part.name == "VEVENT" and part.get("DTSTART") is None:
        raise InvalidContent("an event needs DTSTART (RFC 5545 3.6.1)")


def rules(part: icalendar.Component) -> list[Any]:
    """The RRULE values of a component; usually none or one."""
    found = part.get("RRULE")
    if found is None:
        return []
    return list(found) if isinstance(found, list) else [found]


def instant(value: date | datetime) -> datetime:
    """A date or floating time taken as UTC; zoned times unchanged."""
    if not isinstance(value, datetime):
        return datetime.combine(value, time(), UTC)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _times(part: icalendar.Component, *names: str) -> Iterator[datetime]:
    for name in names:
        values = part.get(name)
        for value in values if isinstance(values, list) else [values] if values is not None else []:
            for single in getattr(value, "dts", [value]):
                moment = getattr(single, "dt", None)
                if isinstance(moment, tuple):
                    moment = moment[0]
                if isinstance(moment, date):
                    yield instant(moment)


def _length(part: icalendar.Component) -> timedelta:
    starts = list(_times(part, "DTSTART"))
    ends = list(_times(part, "DTEND", "DUE"))
    if starts and ends:
        return max(ends[0] - starts[0], timedelta())
    duration = getattr(part.get("DURATION"), "dt", None)
    return duration if isinstance(duration, timedelta) else timedelta(days=1)


def _bounds(components: list[icalendar.Component]) -> tuple[datetime | None, datetime | None]:
    starts = [moment for part in components for moment in _times(part, "DTSTART", "DUE", "RDATE", "RECURRENCE-ID")]
    if not starts or len(starts) < len(components):
        return None, None
    try:
        first = min(starts) - ZONE_MARGIN
        if any(rules(part) for part in components):
            return first, None
        last = max(moment + _length(part) for part in components for moment in _times(part, "DTSTART", "DUE", "RDATE"))
        return first, last + ZONE_MARGIN
    except (OverflowError, ValueError, TypeError):
        return None, None
