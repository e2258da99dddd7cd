"""Calendar objects: what is accepted, what is refused, what a filter finds; on our samples and on real calendars."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from posthorn_groupware import calendar_object, expansion
from posthorn_groupware.calendar_filter import CompFilter, PropFilter, TimeRange, happens
from posthorn_groupware.filters import ParamFilter, TextMatch
from posthorn_model.errors import InvalidContent

WEEKLY = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//EN
BEGIN:VEVENT
UID:weekly
DTSTAMP:20260101T000000Z
DTSTART:20260601T090000Z
DURATION:PT1H
SUMMARY;LANGUAGE=en:Mail coach
RRULE:FREQ=WEEKLY;COUNT=4
END:VEVENT
END:VCALENDAR
"""


def ics(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def between(start: str, end: str) -> TimeRange:
    return TimeRange(datetime.fromisoformat(start + "+00:00"), datetime.fromisoformat(end + "+00:00"))


def event(*inner: PropFilter, time_range: TimeRange | None = None) -> CompFilter:
    return CompFilter("VCALENDAR", comps=(CompFilter("VEVENT", time_range=time_range, props=inner),))


def test_facts_of_a_recurring_event() -> None:
    found = calendar_object.parse(ics(WEEKLY))
    assert (found.uid, found.component, found.ends_at) == ("weekly", "VEVENT", None)
    assert found.starts_at is not None
    assert found.starts_at <= datetime(2026, 6, 1, 9, tzinfo=UTC)


def test_bounds_of_a_single_event_hold_it() -> None:
    found = calendar_object.parse(ics(WEEKLY.replace("RRULE:FREQ=WEEKLY;COUNT=4\n", "")))
    assert found.starts_at is not None
    assert found.ends_at is not None
    assert (
        found.starts_at <= datetime(2026, 6, 1, 9, tzinfo=UTC) < datetime(2026, 6, 1, 10, tzinfo=UTC) <= found.ends_at
    )


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-06-08T00:00", "2026-06-09T00:00", True),
        ("2026-06-09T00:00", "2026-06-10T00:00", False),
        ("2026-06-22T09:59", "2026-06-22T10:30", True),
        ("2026-06-22T10:00", "2026-06-22T10:30", False),
        ("2026-06-29T00:00", "2026-06-30T00:00", False),
    ],
)
def test_time_range_sees_occurrences(start: str, end: str, expected: bool) -> None:
    found = calendar_object.parse(ics(WEEKLY))
    assert event(time_range=between(start, end)).matches(found) is expected


def test_properties_and_parameters() -> None:
    found = calendar_object.parse(ics(WEEKLY))
    assert event(PropFilter("SUMMARY", text=TextMatch("COACH"))).matches(found)
    assert not event(PropFilter("SUMMARY", text=TextMatch("COACH", collation="i;octet"))).matches(found)
    assert not event(PropFilter("SUMMARY", text=TextMatch("coach", negate=True))).matches(found)
    assert event(PropFilter("LOCATION", is_not_defined=True)).matches(found)
    assert not event(PropFilter("LOCATION")).matches(found)
    assert event(PropFilter("SUMMARY", params=(ParamFilter("LANGUAGE", text=TextMatch("EN")),))).matches(found)
    assert not event(PropFilter("SUMMARY", params=(ParamFilter("LANGUAGE", is_not_defined=True),))).matches(found)


def test_component_that_is_absent() -> None:
    found = calendar_object.parse(ics(WEEKLY))
    assert CompFilter("VCALENDAR", comps=(CompFilter("VTODO", is_not_defined=True),)).matches(found)
    assert not CompFilter("VCALENDAR", comps=(CompFilter("VTODO"),)).matches(found)


def test_alarm_in_range() -> None:
    alarm = "BEGIN:VALARM\nACTION:DISPLAY\nTRIGGER:-PT30M\nDESCRIPTION:x\nEND:VALARM\nEND:VEVENT\n"
    found = calendar_object.parse(ics(WEEKLY.replace("END:VEVENT\n", alarm)))

    def wanted(start: str, end: str) -> CompFilter:
        inner = CompFilter("VALARM", time_range=between(start, end))
        return CompFilter("VCALENDAR", comps=(CompFilter("VEVENT", comps=(inner,)),))

    assert wanted("2026-06-08T08:15", "2026-06-08T08:45").matches(found)
    assert not wanted("2026-06-08T08:45", "2026-06-08T09:15").matches(found)


def test_expansion_gives_one_component_per_occurrence() -> None:
    found = calendar_object.parse(ics(WEEKLY))
    text = expansion.expand(found, between("2026-06-01T00:00", "2026-06-20T00:00")).decode()
    assert text.count("BEGIN:VEVENT") == 3
    assert "RRULE" not in text
    assert "20260615T090000Z" in text


def test_free_busy_merges_and_leaves_out_what_is_transparent() -> None:
    overlapping = WEEKLY.replace("090000Z", "093000Z").replace("weekly", "other")
    free = WEEKLY.replace("090000Z", "150000Z").replace("SUMMARY", "TRANSP:TRANSPARENT\nSUMMARY")
    items = [calendar_object.parse(ics(text)) for text in (WEEKLY, overlapping, free)]
    periods = expansion.busy_times(items, between("2026-06-08T00:00", "2026-06-09T00:00"))
    assert periods == [(datetime(2026, 6, 8, 9, tzinfo=UTC), datetime(2026, 6, 8, 10, 30, tzinfo=UTC))]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "BEGIN:VCALENDAR\nEND:VCALENDAR\n",
        WEEKLY.replace("UID:weekly\n", ""),
        WEEKLY.replace("VERSION", "METHOD:REQUEST\nVERSION"),
        WEEKLY.replace("WEEKLY;COUNT=4", "SECONDLY"),
        WEEKLY + WEEKLY,
        WEEKLY.replace("END:VEVENT\n", "END:VEVENT\nBEGIN:VTODO\nUID:weekly\nEND:VTODO\n"),
        WEEKLY.replace("END:VEVENT\n", "END:VEVENT\nBEGIN:VEVENT\nUID:other\nDTSTART:20260101T000000Z\nEND:VEVENT\n"),
        "BEGIN:VCALENDAR\n" + "BEGIN:VEVENT\nEND:VEVENT\n" * 3000 + "END:VCALENDAR\n",
        "BEGIN:VCALENDAR\n" + "BEGIN:VEVENT\n" * 1500 + "END:VCALENDAR\n",
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(InvalidContent) as refused:
        calendar_object.parse(ics(text))
    assert len(refused.value.public) > 10


def test_real_calendars_parse_or_are_refused_with_a_reason(corpus_folder: Path) -> None:
    accepted = 0
    for path in sorted((corpus_folder / "icalendar").rglob("*.ics")):
        try:
            found = calendar_object.parse(path.read_bytes())
        except InvalidContent:
            continue
        accepted += 1
        happens(found, between("2000-01-01T00:00", "2001-01-01T00:00"))
    assert accepted > 50
