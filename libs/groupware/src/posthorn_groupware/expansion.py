"""Calendar data as clients ask for it: recurrences expanded (RFC 4791 9.6.5), free and busy times (7.10)."""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice

import icalendar

from posthorn_groupware.calendar_filter import TimeRange, occurrences, span
from posthorn_groupware.calendar_object import CalendarObject, instant

MAX_EXPANDED = 1_000


def expand(item: CalendarObject, wanted: TimeRange) -> bytes:
    """The object with each occurrence in the range as a component of its own, times in UTC, no rules, no zones."""
    result = icalendar.Calendar()
    for name, value in item.calendar.property_items(recursive=False):
        if name not in ("BEGIN", "END"):
            result.add(name, value)
    for found in islice(occurrences(item, wanted), MAX_EXPANDED):
        for name in ("DTSTART", "DTEND", "DUE", "RECURRENCE-ID"):
            moment = getattr(found.get(name), "dt", None)
            if isinstance(moment, datetime) and moment.tzinfo is not None:
                del found[name]
                found.add(name, moment.astimezone(UTC))
        result.add_component(found)
    return bytes(result.to_ical())


def busy_times(items: Iterable[CalendarObject], wanted: TimeRange) -> list[tuple[datetime, datetime]]:
    """The merged busy periods of events in the range (RFC 4791 7.10): not transparent, not cancelled."""
    periods: list[tuple[datetime, datetime]] = []
    for item in items:
        if item.component != "VEVENT":
            continue
        for found in islice(occurrences(item, wanted), MAX_EXPANDED):
            free = str(found.get("TRANSP", "")).upper() == "TRANSPARENT"
            if not free and str(found.get("STATUS", "")).upper() != "CANCELLED":
                periods.append(span(found))
    merged: list[tuple[datetime, datetime]] = []
    for begins, ends in sorted(periods):
        if merged and begins <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(ends, merged[-1][1]))
        elif begins < ends:
            merged.append((begins, ends))
    return merged


def free_busy(items: Iterable[CalendarObject], start: datetime, end: datetime, stamp: datetime) -> bytes:
    """A VFREEBUSY answer for [start, end), as a whole VCALENDAR."""
    answer = icalendar.FreeBusy()
    answer.add("DTSTAMP", stamp.astimezone(UTC))
    answer.add("DTSTART", start.astimezone(UTC))
    answer.add("DTEND", end.astimezone(UTC))
    for begins, ends in busy_times(items, TimeRange(start, end)):
        first, last = max(instant(begins), start), min(instant(ends), end)
        period = icalendar.vPeriod((first.astimezone(UTC), last.astimezone(UTC)))
        period.params.clear()  # PERIOD is what FREEBUSY holds anyway (RFC 5545 3.8.2.6)
        answer.add("FREEBUSY", period, encode=False)
    calendar = icalendar.Calendar()
    calendar.add("VERSION", "2.0")
    calendar.add("PRODID", "-//Posthorn//Groupware//EN")
    calendar.add_component(answer)
    return bytes(calendar.to_ical())
