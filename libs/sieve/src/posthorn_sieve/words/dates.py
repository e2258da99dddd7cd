"""Dates of header fields, and the date of now (RFC 5260 4 and 5)."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

from posthorn_mail_format.dates import format_date, parse_date
from posthorn_sieve.errors import InvalidScript, ScriptFailed
from posthorn_sieve.letter import readable
from posthorn_sieve.program import Call, Kind, Scope, Tag, Word
from posthorn_sieve.run import Run
from posthorn_sieve.words import tags
from posthorn_sieve.words.headers import check_names, named

_ZONE = re.compile(r"([+-])([01][0-9]|2[0-3])([0-5][0-9])\Z")
_JULIAN = datetime(1858, 11, 17, tzinfo=UTC).toordinal()
"""Day 0 of the modified Julian day."""


def _zone(moment: datetime) -> str:
    seconds = int((moment.utcoffset() or timedelta()).total_seconds())
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02d}{minutes:02d}"


PARTS: dict[str, Callable[[datetime], str]] = {
    "year": lambda moment: f"{moment.year:04d}",
    "month": lambda moment: f"{moment.month:02d}",
    "day": lambda moment: f"{moment.day:02d}",
    "date": lambda moment: f"{moment:%Y-%m-%d}",
    "julian": lambda moment: str(moment.toordinal() - _JULIAN),
    "hour": lambda moment: f"{moment.hour:02d}",
    "minute": lambda moment: f"{moment.minute:02d}",
    "second": lambda moment: f"{moment.second:02d}",
    "time": lambda moment: f"{moment:%H:%M:%S}",
    "iso8601": lambda moment: moment.isoformat(timespec="seconds"),
    "std11": format_date,
    "zone": _zone,
    "weekday": lambda moment: str(moment.isoweekday() % 7),
}
"""RFC 5260 4.2."""


def _date(run: Run, call: Call) -> bool:
    header, part, keys = call.arguments
    values: list[str] = []
    for field in named(run, call, (run.expand(header),)):
        # The date of a trace field stands after its last semicolon (RFC 5321 4.4).
        text = readable(field).rpartition(";")[2]
        moment = parse_date(text.strip())
        if moment is not None:
            values += _part(run, call, moment if "originalzone" in call.tags else _shifted(run, call, moment), part)
    return run.matches(call, values, keys)


def _current_date(run: Run, call: Call) -> bool:
    part, keys = call.arguments
    return run.matches(call, _part(run, call, _shifted(run, call, run.situation.now), part), keys)


def _part(run: Run, call: Call, moment: datetime, part: object) -> list[str]:
    form = PARTS.get(run.expand(part).lower())  # type: ignore[arg-type]
    return [] if form is None else [form(moment)]


def _shifted(run: Run, call: Call, moment: datetime) -> datetime:
    """The moment in the zone that the tag names, or in that of the server."""
    zone = run.situation.now.tzinfo
    if "zone" in call.tags:
        zone = _offset(run.expand(call.tags["zone"]))
    try:
        return moment.astimezone(zone)
    except (ValueError, OverflowError):
        return moment


def _offset(text: str) -> timezone:
    match = _ZONE.match(text)
    if match is None:
        raise ScriptFailed(f"'{text[:20]}' is not a time zone such as \"+0100\"")
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(-offset if match[1] == "-" else offset)


def _check(call: Call, scope: Scope) -> None:
    part = call.arguments[-2]
    if isinstance(part, str) and part.lower() not in PARTS:
        raise InvalidScript(f"a date has no part '{part[:20]}', only {', '.join(PARTS)}")
    zone = call.tags.get("zone")
    if isinstance(zone, str) and not _ZONE.match(zone):
        raise InvalidScript(f"'{zone[:20]}' is not a time zone such as \"+0100\"")
    if call.name == "date":
        check_names(call, scope)


_IN_ZONE = {"zone": Tag(Kind.TEXT, group="zone")}
COMMANDS: dict[str, Word] = {}
TESTS = {
    "date": Word(
        _date,
        (Kind.TEXT, Kind.TEXT, Kind.TEXTS),
        tags=tags.MATCH | tags.INDEX | _IN_ZONE | {"originalzone": Tag(group="zone")},
        needs=("date",),
        check=_check,
    ),
    "currentdate": Word(
        _current_date, (Kind.TEXT, Kind.TEXTS), tags=tags.MATCH | _IN_ZONE, needs=("date",), check=_check
    ),
}
