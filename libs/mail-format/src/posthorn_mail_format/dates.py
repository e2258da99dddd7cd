"""Date and time of RFC 5322 3.3 with the obsolete forms of 4.3, to and from aware datetimes. Never raises."""

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_ZONES = {"edt": -4, "est": -5, "cdt": -5, "cst": -6, "mdt": -6, "mst": -7, "pdt": -7, "pst": -8}
_MONTH = r"(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_TIME = r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,]\d{1,9})?)?"
_ZONE = r"(?P<zone>(?:gmt|utc?)?[+-]\d{1,2}:?\d{2}|[a-z]{1,5})?"
_RFC5322 = re.compile(
    rf"\s*(?:[a-z]{{2,9}}\.?\s*,?\s*)?(?P<day>\d{{1,2}})[\s-]+{_MONTH}[\s,-]+(?P<year>\d{{2,4}})[\s,]+{_TIME}\s*{_ZONE}",
    re.IGNORECASE | re.ASCII,
)
_ASCTIME = re.compile(
    rf"\s*(?:[a-z]{{3,9}},?\s+)?{_MONTH}\s+(?P<day>\d{{1,2}}),?\s+{_TIME}\s*(?:(?P<zone>[a-z]{{1,5}}|[+-]\d{{4}})\s+)?"
    rf"(?P<year>\d{{4}})",
    re.IGNORECASE | re.ASCII,
)
_COMMENT = re.compile(r"\([^()]*+\)")
_OFFSET = re.compile(r"([+-])(\d{1,2}):?(\d{2})\Z")
_MAX = 200


def parse_date(value: bytes | str) -> datetime | None:
    """Return the aware datetime of a date-time field value, or None when it is none.

    Two-digit years, named and unknown zones as in RFC 5322 4.3; a missing zone is UTC, a leap second is second 59.
    """
    text = value[:_MAX].decode("ascii", "replace") if isinstance(value, bytes) else value[:_MAX]
    if "(" in text:
        text = _COMMENT.sub(" ", _COMMENT.sub(" ", text))
    match = _RFC5322.match(text) or _ASCTIME.match(text)
    if match is None:
        return None
    try:
        return datetime(
            _year(match["year"]),
            _MONTHS.index(match["month"].lower()) + 1,
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            min(int(match["second"] or 0), 59),
            tzinfo=_zone(match["zone"] or ""),
        )
    except (ValueError, OverflowError):
        return None


def format_date(moment: datetime) -> str:
    """Return an aware datetime as RFC 5322 date-time in its own zone: "Thu, 30 Oct 2014 14:12:00 +0800"."""
    seconds = int((moment.utcoffset() or timedelta()).total_seconds())
    sign = "-" if seconds < 0 else "+"
    hours, minutes = divmod(abs(seconds) // 60, 60)
    month = _MONTHS[moment.month - 1].capitalize()
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02d} {month} {moment.year:04d} "
        f"{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d} {sign}{hours:02d}{minutes:02d}"
    )


def _year(digits: str) -> int:
    year = int(digits)
    if len(digits) == 2:
        return year + (2000 if year < 50 else 1900)
    return year + 1900 if len(digits) == 3 else year


@lru_cache(maxsize=256)
def _zone(name: str) -> timezone:
    offset = _OFFSET.search(name)
    if offset is None:
        # RFC 5322 4.3: military and unknown zones say nothing reliable and mean -0000.
        hours = _ZONES.get(name.lower(), 0)
        return timezone(timedelta(hours=hours)) if hours else UTC
    minutes = int(offset[2]) * 60 + int(offset[3])
    if minutes == 0 or minutes >= 24 * 60:
        return UTC
    return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
