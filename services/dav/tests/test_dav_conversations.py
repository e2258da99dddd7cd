"""What CalDAV and CardDAV clients say and hear, over HTTP against the real database."""

import re

import pytest
from lxml import etree

from posthorn_model.errors import AuthenticationFailed
from posthorn_storage import Storage

HOME = "/dav/cal/ann@example.org/"
BOOKS = "/dav/card/ann@example.org/"
D, C, A = "{DAV:}", "{urn:ietf:params:xml:ns:caldav}", "{urn:ietf:params:xml:ns:carddav}"
XMLNS = 'xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:A="urn:ietf:params:xml:ns:carddav"'
EVENT = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//EN
BEGIN:VEVENT
UID:one
DTSTAMP:20260101T000000Z
DTSTART:20260601T090000Z
DURATION:PT1H
SUMMARY:Mail coach
RRULE:FREQ=WEEKLY;COUNT=4
END:VEVENT
END:VCALENDAR
""".replace("\n", "\r\n")
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:karl\r\nFN:Karl Postillon\r\nEMAIL:karl@example.net\r\nEND:VCARD\r\n"


def hrefs(body: str) -> list[str]:
    root = etree.fromstring(body.encode())
    return [element.findtext(f"{D}href") or "" for element in root.iter(f"{D}response")]


def token_of(body: str) -> str:
    return etree.fromstring(body.encode()).findtext(f".//{D}sync-token") or ""


def sync(token: str) -> str:
    return (
        f"<D:sync-collection {XMLNS}><D:sync-token>{token}</D:sync-token><D:sync-level>1</D:sync-level>"
        "<D:prop><D:getetag/></D:prop></D:sync-collection>"
    )


async def test_a_client_finds_its_homes(dav) -> None:
    for path in ("/.well-known/caldav", "/.well-known/carddav"):
        found = await dav("PROPFIND", path, login=None)
        assert (found.status, found.headers["location"]) == (308, "/dav/")
    body = f"<D:propfind {XMLNS}><D:prop><D:current-user-principal/></D:prop></D:propfind>"
    root = await dav("PROPFIND", "/dav/", body, Depth="0")
    assert root.status == 207
    principal = re.search(r"<D:href>(/dav/pal/[^<]+)</D:href>", root.body)
    assert principal is not None
    body = f"<D:propfind {XMLNS}><D:prop><C:calendar-home-set/><A:addressbook-home-set/><D:x/></D:prop></D:propfind>"
    found = await dav("PROPFIND", principal[1], body, Depth="0")
    assert f"{HOME}</" in found.body
    assert f"{BOOKS}</" in found.body
    assert "404 Not Found" in found.body


async def test_options_tell_the_classes(dav) -> None:
    found = await dav("OPTIONS", HOME)
    assert "calendar-access" in found.headers["dav"]
    assert "addressbook" in found.headers["dav"]
    assert "REPORT" in found.headers["allow"]


async def test_home_lists_the_default_calendar(dav) -> None:
    found = await dav("PROPFIND", HOME, Depth="1")
    assert hrefs(found.body) == [HOME, f"{HOME}default/"]
    assert "<C:calendar/>" in found.body


async def test_put_get_delete(dav) -> None:
    url = f"{HOME}default/one.ics"
    made = await dav("PUT", url, EVENT, Content_Type="text/calendar", If_None_Match="*")
    assert made.status == 201
    got = await dav("GET", url)
    assert (got.status, got.body, got.headers["etag"]) == (200, EVENT, made.headers["etag"])
    assert (await dav("GET", url, If_None_Match=got.headers["etag"])).status == 304
    assert (await dav("PUT", url, EVENT, Content_Type="text/calendar", If_None_Match="*")).status == 412
    changed = EVENT.replace("Mail coach", "Post chaise")
    assert (await dav("PUT", url, changed, Content_Type="text/calendar", If_Match='"old"')).status == 412
    again = await dav("PUT", url, changed, Content_Type="text/calendar", If_Match=got.headers["etag"])
    assert again.status == 204
    assert again.headers["etag"] != got.headers["etag"]
    assert (await dav("DELETE", url, If_Match=got.headers["etag"])).status == 412
    assert (await dav("DELETE", url)).status == 204
    assert (await dav("GET", url)).status == 404


async def test_the_same_uid_under_another_name_is_refused(dav) -> None:
    assert (await dav("PUT", f"{HOME}default/one.ics", EVENT, Content_Type="text/calendar")).status == 201
    found = await dav("PUT", f"{HOME}default/two.ics", EVENT, Content_Type="text/calendar")
    assert found.status == 409
    assert "no-uid-conflict" in found.body


async def test_calendar_query_finds_an_occurrence(dav) -> None:
    await dav("PUT", f"{HOME}default/one.ics", EVENT, Content_Type="text/calendar")

    def query(start: str, end: str) -> str:
        return (
            f"<C:calendar-query {XMLNS}><D:prop><D:getetag/><C:calendar-data/></D:prop><C:filter>"
            '<C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">'
            f'<C:time-range start="{start}" end="{end}"/></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>'
        )

    found = await dav("REPORT", f"{HOME}default/", query("20260608T000000Z", "20260609T000000Z"), Depth="1")
    assert hrefs(found.body) == [f"{HOME}default/one.ics"]
    assert "Mail coach" in found.body
    found = await dav("REPORT", f"{HOME}default/", query("20270608T000000Z", "20270609T000000Z"), Depth="1")
    assert (found.status, hrefs(found.body)) == (207, [])


async def test_expanded_recurrences(dav) -> None:
    await dav("PUT", f"{HOME}default/one.ics", EVENT, Content_Type="text/calendar")
    body = (
        f'<C:calendar-multiget {XMLNS}><D:prop><C:calendar-data><C:expand start="20260601T000000Z" '
        f'end="20260620T000000Z"/></C:calendar-data></D:prop><D:href>{HOME}default/one.ics</D:href>'
        f"<D:href>{HOME}default/none.ics</D:href></C:calendar-multiget>"
    )
    found = await dav("REPORT", f"{HOME}default/", body)
    assert found.body.count("BEGIN:VEVENT") == 3
    assert "HTTP/1.1 404 Not Found" in found.body


async def test_free_busy(dav) -> None:
    await dav("PUT", f"{HOME}default/one.ics", EVENT, Content_Type="text/calendar")
    span = '<C:time-range start="20260608T000000Z" end="20260609T000000Z"/>'
    body = f"<C:free-busy-query {XMLNS}>{span}</C:free-busy-query>"
    found = await dav("REPORT", f"{HOME}default/", body, Depth="1")
    assert found.status == 200
    assert "FREEBUSY:20260608T090000Z/20260608T100000Z" in found.body


async def test_sync_collection_follows_changes(dav) -> None:
    first = await dav("REPORT", f"{HOME}default/", sync(""))
    await dav("PUT", f"{HOME}default/one.ics", EVENT, Content_Type="text/calendar")
    second = await dav("REPORT", f"{HOME}default/", sync(token_of(first.body)))
    assert hrefs(second.body) == [f"{HOME}default/one.ics"]
    nothing = await dav("REPORT", f"{HOME}default/", sync(token_of(second.body)))
    assert hrefs(nothing.body) == []
    await dav("DELETE", f"{HOME}default/one.ics")
    third = await dav("REPORT", f"{HOME}default/", sync(token_of(nothing.body)))
    assert hrefs(third.body) == [f"{HOME}default/one.ics"]
    assert "404" in third.body
    stranger = await dav("REPORT", f"{HOME}default/", sync("urn:posthorn:sync:1:999999999"))
    assert stranger.status == 403
    assert "valid-sync-token" in stranger.body


async def test_a_calendar_is_made_changed_and_removed(dav) -> None:
    body = (
        f"<C:mkcalendar {XMLNS}><D:set><D:prop><D:displayname>Work</D:displayname>"
        "<C:calendar-description>at work</C:calendar-description></D:prop></D:set></C:mkcalendar>"
    )
    assert (await dav("MKCALENDAR", f"{HOME}work/", body)).status == 201
    assert (await dav("MKCALENDAR", f"{HOME}work/", body)).status == 405
    patch = (
        f'<D:propertyupdate {XMLNS} xmlns:I="http://apple.com/ns/ical/" xmlns:X="urn:x"><D:set><D:prop>'
        "<D:displayname>Work 2</D:displayname><I:calendar-color>#ff0000</I:calendar-color><X:note>dead</X:note>"
        "</D:prop></D:set></D:propertyupdate>"
    )
    assert (await dav("PROPPATCH", f"{HOME}work/", patch)).status == 207
    ask = (
        f'<D:propfind {XMLNS} xmlns:I="http://apple.com/ns/ical/" xmlns:X="urn:x"><D:prop><D:displayname/>'
        "<I:calendar-color/><X:note/></D:prop></D:propfind>"
    )
    found = await dav("PROPFIND", f"{HOME}work/", ask, Depth="0")
    for text in ("Work 2", "#ff0000", "dead"):
        assert text in found.body
    refused = (
        f"<D:propertyupdate {XMLNS}><D:set><D:prop><D:getetag>x</D:getetag><D:displayname>y</D:displayname>"
        "</D:prop></D:set></D:propertyupdate>"
    )
    found = await dav("PROPPATCH", f"{HOME}work/", refused)
    assert "403 Forbidden" in found.body
    assert "424 Failed Dependency" in found.body
    assert (await dav("DELETE", f"{HOME}work/")).status == 204
    assert (await dav("PROPFIND", f"{HOME}work/", Depth="0")).status == 404


async def test_address_book_query(dav) -> None:
    assert (await dav("PUT", f"{BOOKS}default/karl.vcf", CARD, Content_Type="text/vcard")).status == 201

    def query(text: str) -> str:
        return (
            f"<A:addressbook-query {XMLNS}><D:prop><D:getetag/><A:address-data/></D:prop><A:filter>"
            f'<A:prop-filter name="FN"><A:text-match match-type="starts-with">{text}</A:text-match></A:prop-filter>'
            "</A:filter></A:addressbook-query>"
        )

    found = await dav("REPORT", f"{BOOKS}default/", query("karl"), Depth="1")
    assert hrefs(found.body) == [f"{BOOKS}default/karl.vcf"]
    assert "Postillon" in found.body
    assert hrefs((await dav("REPORT", f"{BOOKS}default/", query("post"), Depth="1")).body) == []


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("PROPFIND", HOME, "<not xml", {"Depth": "0"}, 400),
        ("PROPFIND", HOME, '<!DOCTYPE a [<!ENTITY b "c">]><D:propfind xmlns:D="DAV:"/>', {"Depth": "0"}, 400),
        ("PROPFIND", HOME, "x" * 200_000, {"Depth": "0"}, 413),
        ("PROPFIND", HOME, "", {"Depth": "infinity"}, 403),
        ("PROPFIND", HOME, "", {"Depth": "7"}, 400),
        ("PROPFIND", "/dav/cal/bob@example.org/", "", {"Depth": "0"}, 404),
        ("PROPFIND", "/dav/../etc/passwd", "", {"Depth": "0"}, 404),
        ("REPORT", f"{HOME}default/", "", {}, 400),
        ("REPORT", f"{HOME}default/", "<D:unknown xmlns:D='DAV:'/>", {}, 403),
        ("PUT", f"{HOME}default/a.ics", "garbage", {"Content-Type": "text/calendar"}, 403),
        ("PUT", f"{HOME}default/a.ics", EVENT, {"Content-Type": "image/png"}, 403),
        ("PUT", f"{HOME}none/a.ics", EVENT, {"Content-Type": "text/calendar"}, 409),
        ("PUT", f"{HOME}default/a.ics", "x" * 60_000, {"Content-Type": "text/calendar"}, 413),
        ("PUT", HOME, EVENT, {"Content-Type": "text/calendar"}, 405),
        ("MKCOL", "/dav/cal/", "", {}, 404),
        ("DELETE", HOME, "", {}, 405),
        ("PATCH", HOME, "", {}, 405),
        ("GET", f"{HOME}default/none.ics", "", {}, 404),
    ],
)
async def test_bad_input_is_refused_and_the_service_lives(dav, method, path, body, headers, status) -> None:
    refused = await dav(method, path, body, **headers)
    assert refused.status == status
    assert refused.body
    assert (await dav("PROPFIND", HOME, Depth="0")).status == 207


@pytest.mark.parametrize("login", [None, ("ann@example.org", "wrong"), ("nobody@example.org", "x"), ("", "")])
async def test_wrong_credentials(dav, login) -> None:
    found = await dav("PROPFIND", HOME, login=login, Depth="0")
    assert found.status == 401
    assert found.headers["www-authenticate"].startswith("Basic")


async def test_when_too_many_logins_failed_the_right_password_is_not_judged(dav, lock_out) -> None:
    await lock_out("ann@example.org")
    found = await dav("PROPFIND", HOME, Depth="0")
    assert found.status == 429
    assert 0 < int(found.headers["retry-after"]) <= 72


async def test_too_many_results_are_refused(dav, storage: Storage) -> None:
    for number in range(51):
        event = EVENT.replace("UID:one", f"UID:{number}")
        assert (await dav("PUT", f"{HOME}default/{number}.ics", event, Content_Type="text/calendar")).status == 201
    found = await dav("PROPFIND", f"{HOME}default/", Depth="1")
    assert found.status == 507
    assert "number-of-matches-within-limits" in found.body


class OneToken:
    """Judges tokens: knows one of Ann's."""

    async def owner(self, token: str) -> str:
        if token != "ann.s.token":
            raise AuthenticationFailed
        return "ann@example.org"


async def test_a_bearer_token_is_a_login(dav, storage) -> None:
    storage.directory.take_tokens(OneToken())
    for token, refused in (("ann.s.token", False), ("another", True)):
        found = await dav("OPTIONS", "/dav/", login=None, Authorization=f"Bearer {token}")
        assert (found.status == 401) is refused
