"""The protocol core of DAV: XML that is refused, paths, conditions, filters, answers."""

import pytest
from lxml import etree

from posthorn_dav.protocol import conditions, filters, multistatus, paths, xml
from posthorn_dav.protocol.paths import Path, Place
from posthorn_model.groupware import CollectionKind

BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<propfind xmlns="DAV:"><prop>&b;</prop></propfind>"""


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        BOMB.decode().replace('?xml version="1.0"', '?xml version="1.0" encoding="utf-16"').encode("utf-16"),
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x xmlns="DAV:"/>',
        b"<a><b></a>",
        b"not xml",
        b"<a>" * 40 + b"</a>" * 40,
        b"<a>" + b"<b/>" * 30_000 + b"</a>",
        b"<a>\x00</a>",
    ],
)
def test_xml_that_is_refused(body: bytes) -> None:
    with pytest.raises(xml.MalformedXml):
        xml.parse(body)


def test_an_empty_body_is_no_document() -> None:
    assert xml.parse(b" \r\n") is None


def test_text_that_xml_cannot_carry_is_replaced() -> None:
    document = xml.dump(xml.make(xml.DAV, "displayname", "a\x00b\x1fc"))
    assert etree.fromstring(document).text == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"


@pytest.mark.parametrize(
    "path",
    [
        Path(Place.ROOT),
        Path(Place.PRINCIPALS),
        Path(Place.PRINCIPAL, "ann@example.org"),
        Path(Place.HOME, "ann@example.org", CollectionKind.CALENDAR),
        Path(Place.COLLECTION, "ann@example.org", CollectionKind.ADDRESS_BOOK, "my friends"),
        Path(Place.ITEM, "ann@example.org", CollectionKind.CALENDAR, "default", "ä b%c?.ics"),
    ],
)
def test_paths_and_their_urls_are_inverse(path: Path) -> None:
    assert paths.parse(path.url()) == path
    assert paths.parse("https://mail.example.org" + path.url()) == path


@pytest.mark.parametrize(
    "raw",
    [
        "/",
        "/other/",
        "/dav/xyz/ann/",
        "/dav/cal/",
        "/dav/cal/ann/a/b/c",
        "/dav/cal/ann/../b",
        "/dav/cal/ann/%2e%2e/b",
        "/dav/cal/ann/a%2fb/",
        "/dav/cal/ann/a%00/",
        "/dav/cal/ann//x.ics",
        "/dav/cal/ann/" + "x" * 300,
    ],
)
def test_paths_outside_the_url_space(raw: str) -> None:
    assert paths.parse(raw) is None


@pytest.mark.parametrize(
    ("etag", "if_match", "if_none_match", "expected"),
    [
        ("a", None, None, True),
        (None, None, "*", True),
        ("a", None, "*", False),
        ("a", '"a"', None, True),
        ("a", '"b", "a"', None, True),
        ("a", '"b"', None, False),
        (None, '"a"', None, False),
        (None, "*", None, False),
        ("a", "*", None, True),
        ("a", 'W/"a"', None, False),
    ],
)
def test_conditions(etag: str | None, if_match: str | None, if_none_match: str | None, expected: bool) -> None:
    assert conditions.allowed(etag, conditions.tags(if_match), conditions.tags(if_none_match)) is expected


@pytest.mark.parametrize("header", ["abc", '"a', '"a" "b"'])
def test_conditions_that_cannot_be_read(header: str) -> None:
    with pytest.raises(conditions.BadCondition):
        conditions.tags(header)


def calendar_query(inner: str) -> etree._Element:
    root = xml.parse(f'<C:filter xmlns:C="{xml.CALDAV}">{inner}</C:filter>'.encode())
    assert root is not None
    return root


def test_calendar_filter_is_read() -> None:
    found = filters.calendar(
        calendar_query(
            '<C:comp-filter name="VCALENDAR"><C:comp-filter name="vevent">'
            '<C:time-range start="20260101T000000Z"/>'
            '<C:prop-filter name="summary"><C:text-match negate-condition="yes">x</C:text-match></C:prop-filter>'
            "</C:comp-filter></C:comp-filter>"
        )
    )
    event = found.comps[0]
    assert (found.name, event.name) == ("VCALENDAR", "VEVENT")
    assert event.time_range is not None
    assert event.time_range.end is None
    assert event.props[0].text is not None
    assert event.props[0].text.negate


@pytest.mark.parametrize(
    "inner",
    [
        "",
        "<C:comp-filter/>",
        '<C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range/></C:comp-filter></C:comp-filter>',
        '<C:comp-filter name="VCALENDAR"><C:time-range start="yesterday"/></C:comp-filter>',
    ],
)
def test_calendar_filters_that_are_refused(inner: str) -> None:
    with pytest.raises(xml.MalformedXml):
        filters.calendar(calendar_query(inner))


def test_an_unknown_collation_is_named() -> None:
    inner = '<C:prop-filter name="S"><C:text-match collation="i;klingon">x</C:text-match></C:prop-filter>'
    with pytest.raises(filters.UnsupportedCollation):
        filters.calendar(calendar_query(f'<C:comp-filter name="VCALENDAR">{inner}</C:comp-filter>'))


def test_multistatus_groups_properties_by_status() -> None:
    resource = multistatus.Resource("/dav/", {200: [xml.make(xml.DAV, "displayname", "x")], 404: []})
    root = etree.fromstring(multistatus.multistatus([resource], "urn:x"))
    assert [e.text for e in root.iter("{DAV:}status")] == ["HTTP/1.1 200 OK"]
    assert root.findtext("{DAV:}sync-token") == "urn:x"
