"""Dates of IMAP: the day of SEARCH, the date-time of APPEND and INTERNALDATE (RFC 9051 section 9)."""

import re
from datetime import UTC, date, datetime, timedelta, timezone

from posthorn_imap.protocol.cursor import Cursor, SyntaxProblem

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = {name.upper().encode(): number for number, name in enumerate(_MONTHS, 1)}
_DATE = re.compile(rb'(")?([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})(?(1)")')
_DATE_TIME = re.compile(
    rb'"([ 0-9][0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"'
)


def day(cursor: Cursor) -> date:
    """Read a date, with or without quotes."""
    found = cursor.match(_DATE)
    if found is None:
        raise SyntaxProblem('expected a date such as "1-Feb-2024"')
    try:
        return date(int(found[4]), _MONTH.get(found[3].upper(), 0), int(found[2]))
    except ValueError:
        raise SyntaxProblem("no such date") from None


def date_time(cursor: Cursor) -> datetime:
    """Read a date-time; the result is aware and in UTC."""
    found = cursor.match(_DATE_TIME)
    if found is None:
        raise SyntaxProblem('expected a date-time such as "01-Feb-2024 10:20:30 +0100"')
    hours, minutes = int(found[8]), int(found[9])
    offset = timedelta(hours=hours, minutes=minutes) * (-1 if found[7] == b"-" else 1)
    try:
        return datetime(
            int(found[3]),
            _MONTH.get(found[2].upper(), 0),
            int(found[1]),
            int(found[4]),
            int(found[5]),
            min(int(found[6]), 59),  # a leap second is the one before it: nothing here can hold it
            tzinfo=timezone(offset),
        ).astimezone(UTC)
    except (ValueError, OverflowError):
        raise SyntaxProblem("no such date-time") from None


def write_date_time(moment: datetime) -> bytes:
    """A date-time with its quotes, in UTC."""
    utc = moment.astimezone(UTC)
    clock = f"{utc.hour:02}:{utc.minute:02}:{utc.second:02}"
    return f'"{utc.day:02}-{_MONTHS[utc.month - 1]}-{utc.year:04} {clock} +0000"'.encode()
