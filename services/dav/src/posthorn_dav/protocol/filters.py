"""Filters as clients send them (RFC 4791 9.7, RFC 6352 10.5) to the values that posthorn_groupware matches."""

from datetime import UTC, datetime

from posthorn_dav.protocol.xml import CALDAV, CARDDAV, Element, MalformedXml, child, children, name, text
from posthorn_groupware import calendar_filter, card
from posthorn_groupware.filters import COLLATIONS, MATCH_TYPES, ParamFilter, TextMatch


class UnsupportedCollation(Exception):
    """A text-match asks for a collation that is not offered."""


def time_range(element: Element | None) -> calendar_filter.TimeRange | None:
    """A time-range, or None when the element is absent. Raises MalformedXml."""
    if element is None:
        return None
    start, end = element.get("start"), element.get("end")
    if start is None and end is None:
        raise MalformedXml("a time-range needs start or end (RFC 4791 9.9)")
    return calendar_filter.TimeRange(utc(start) if start else None, utc(end) if end else None)


def utc(value: str) -> datetime:
    """An iCalendar date with UTC time. Raises MalformedXml."""
    try:
        return datetime.strptime(value, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise MalformedXml(f"{value[:40]!r} is not a date with UTC time (RFC 4791 9.9)") from error


def _text_match(element: Element) -> TextMatch:
    collation = element.get("collation") or "i;ascii-casemap"
    if collation == "default":
        collation = "i;ascii-casemap"
    if collation not in COLLATIONS:
        raise UnsupportedCollation(collation)
    match_type = element.get("match-type") or "contains"
    if match_type not in MATCH_TYPES:
        raise MalformedXml(f"{match_type[:40]!r} is no match-type (RFC 6352 10.5.4)")
    return TextMatch(element.text or "", collation, match_type, element.get("negate-condition") == "yes")


def _named(element: Element) -> str:
    found = element.get("name")
    if not found:
        raise MalformedXml("a filter element lacks its name attribute")
    return found


def _params(element: Element, namespace: str) -> tuple[ParamFilter, ...]:
    found = []
    for inner in element.findall(name(namespace, "param-filter")):
        matcher = child(inner, namespace, "text-match")
        absent = child(inner, namespace, "is-not-defined") is not None
        found.append(ParamFilter(_named(inner), absent, _text_match(matcher) if matcher is not None else None))
    return tuple(found)


def calendar(element: Element | None) -> calendar_filter.CompFilter:
    """The filter of a calendar-query: its one comp-filter, which is for VCALENDAR. Raises MalformedXml."""
    inner = child(element, CALDAV, "comp-filter")
    if inner is None:
        raise MalformedXml("a calendar-query needs a filter with a comp-filter (RFC 4791 7.8)")
    return _comp_filter(inner)


def _comp_filter(element: Element) -> calendar_filter.CompFilter:
    return calendar_filter.CompFilter(
        _named(element).upper(),
        child(element, CALDAV, "is-not-defined") is not None,
        time_range(child(element, CALDAV, "time-range")),
        tuple(_prop_filter(inner) for inner in element.findall(name(CALDAV, "prop-filter"))),
        tuple(_comp_filter(inner) for inner in element.findall(name(CALDAV, "comp-filter"))),
    )


def _prop_filter(element: Element) -> calendar_filter.PropFilter:
    matcher = child(element, CALDAV, "text-match")
    return calendar_filter.PropFilter(
        _named(element).upper(),
        child(element, CALDAV, "is-not-defined") is not None,
        time_range(child(element, CALDAV, "time-range")),
        _text_match(matcher) if matcher is not None else None,
        _params(element, CALDAV),
    )


def address_book(element: Element | None) -> card.Filter:
    """The filter of an addressbook-query. Raises MalformedXml."""
    if element is None:
        raise MalformedXml("an addressbook-query needs a filter (RFC 6352 8.6)")
    props = [inner for inner in children(element) if inner.tag == name(CARDDAV, "prop-filter")]
    return card.Filter(tuple(_card_prop_filter(inner) for inner in props), element.get("test") == "allof")


def _card_prop_filter(element: Element) -> card.PropFilter:
    return card.PropFilter(
        _named(element).upper(),
        child(element, CARDDAV, "is-not-defined") is not None,
        tuple(_text_match(inner) for inner in element.findall(name(CARDDAV, "text-match"))),
        _params(element, CARDDAV),
        element.get("test") == "allof",
    )


def limit(element: Element | None, namespace: str) -> int | None:
    """The nresults of a limit element, or None. Raises MalformedXml."""
    found = child(child(element, namespace, "limit"), namespace, "nresults")
    if found is None:
        return None
    value = text(found)
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        raise MalformedXml("nresults is not a number")
    return int(value)
