"""Bad input over the wire: each gets a clear error, and the connection, or at least the service, lives on."""

import base64
import http.client
import json
import smtplib
from collections.abc import Callable
from email.message import EmailMessage

import pytest

from posthorn_testkit.cluster import ClusterUnderTest, until
from posthorn_testkit.conversation import Conversation, to

pytestmark = [pytest.mark.cluster]
SECONDS = 60
BILLION_LAUGHS = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [
 <!ENTITY a "ha ha ha ha ha ha ha ha ha ha">
 <!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
 <!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">
 <!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">
 <!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;">
 <!ENTITY f "&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;">
]>
<propfind xmlns="DAV:"><prop><displayname>&f;</displayname></prop></propfind>"""
STRANGER_FILE = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>
<propfind xmlns="DAV:"><prop><displayname>&a;</displayname></prop></propfind>"""


async def play(cluster: ClusterUnderTest, protocol: str, script: str, **variables: str) -> None:
    conversation = Conversation(to(*cluster.address(protocol)), wait=SECONDS)
    try:
        await conversation.play(script, **variables)
    finally:
        await conversation.close()


def plain(name: str, password: str) -> str:
    return base64.b64encode(f"\0{name}\0{password}".encode()).decode()


SMTP = {
    "unknown command": """
        S: 220 ...
        C: XYZZY
        S: 500 5.5.1 ...
        C: EHLO client.example.net
        S*: 250 ...
    """,
    "commands out of order": """
        S: 220 ...
        C: EHLO client.example.net
        S*: 250 ...
        C: DATA
        S: 503 ...
        C: RCPT TO:<{name}>
        S: 503 ...
        C: MAIL FROM:<a@example.net>
        S: 250 ...
    """,
    "addresses that are none": """
        S: 220 ...
        C: EHLO client.example.net
        S*: 250 ...
        C: MAIL FROM:<a@@b>
        S: 501 ...
        C: MAIL FROM:a@example.net>
        S: 501 ...
        C: MAIL FROM:<a@example.net>
        S: 250 ...
        C: RCPT TO:<>
        S: 5...
        C: RCPT TO:<nobody-of-that-name@example.org>
        S: 550 5.1.1 ...
        C: RCPT TO:<{name}>
        S: 250 ...
    """,
    "oversize by declaration": """
        S: 220 ...
        C: EHLO client.example.net
        S*: 250 ...
        C: MAIL FROM:<a@example.net> SIZE=99999999999
        S: 552 5.3.4 ...
        C: MAIL FROM:<a@example.net> SIZE=many
        S: 501 ...
        C: MAIL FROM:<a@example.net> SIZE=1000
        S: 250 ...
    """,
    "bare LF": r"""
        S: 220 ...
        C: EHLO client.example.net
        S*: 250 ...
        C: MAIL FROM:<a@example.net>
        S: 250 ...
        C: RCPT TO:<{name}>
        S: 250 ...
        C: DATA
        S: 354 ...
        C\: Subject: smuggled\r\n\r\nhello\n.\nMAIL FROM:<evil@example.net>\r\n.\r\n
        S: 5...
        C: NOOP
        S: 250 ...
    """,
    "NUL and a line too long": r"""
        S: 220 ...
        C\: NO\x00OP\r\n
        S: 5...
        C: NOOP
        S: 250 ...
    """,
}


@pytest.mark.parametrize("script", SMTP.values(), ids=SMTP)
async def test_smtp_refuses_and_goes_on(cluster: ClusterUnderTest, account: tuple[str, str], script: str) -> None:
    end = """
        C: RSET
        S: 250 ...
        C: NOOP
        S: 250 ...
        C: QUIT
        S: 221 ...
        E:
    """
    await play(cluster, "smtp", script + end, name=account[0])


async def test_wrong_passwords_are_refused_and_the_right_one_still_works(
    cluster: ClusterUnderTest, account: tuple[str, str]
) -> None:
    script = """
        S: 220 ...
        C: EHLO client.example.net
        S*: 250 ...
        C: AUTH PLAIN {wrong}
        S: 535 5.7.8 ...
        C: AUTH PLAIN not-base64!
        S: 501 ...
        C: AUTH SECRET-HANDSHAKE
        S: 504 ...
        C: AUTH PLAIN {right}
        S: 235 ...
    """
    await play(cluster, "submission", script, wrong=plain(account[0], "wrong"), right=plain(*account))
    script = """
        S: * OK ...
        C: a LOGIN {name} wrong
        S: a NO [AUTHENTICATIONFAILED] ...
        C: b LOGIN nobody@example.org {password}
        S: b NO [AUTHENTICATIONFAILED] ...
        C: c LOGIN {name} {password}
        S*: c OK ...
    """
    await play(cluster, "imap", script, name=account[0], password=account[1])


def test_more_than_the_size_limit_is_refused_after_the_data(
    cluster: ClusterUnderTest, account: tuple[str, str]
) -> None:
    with smtplib.SMTP(*cluster.address("smtp"), timeout=SECONDS) as client:
        client.ehlo("client.example.net")
        limit = int(client.esmtp_features["size"])
        line = b"x" * 76 + b"\r\n"
        client.mail("a@example.net")
        client.rcpt(account[0])
        code, words = client.data(b"Subject: large\r\n\r\n" + line * (limit // len(line) + 1))
        assert (code, words[:5]) == (552, b"5.3.4"), words
        assert client.sendmail("a@example.net", [account[0]], b"Subject: small\r\n\r\nsmall\r\n") == {}
    box = cluster.imap(account)
    assert box.select() == ("OK", [b"1"])
    box.logout()


BROKEN = {
    "an unfinished multipart": b'Content-Type: multipart/mixed; boundary="a"\r\n\r\n--a\r\n\r\none\r\n--a\r\n',
    "a boundary that never comes": b'Content-Type: multipart/mixed; boundary="zzz"\r\n\r\n--a\r\n\r\none\r\n--a--\r\n',
    "wrong base64": b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!@@@===x\r\n",
    "unknown charset": b"Content-Type: text/plain; charset=klingon\r\n\r\n\xff\xfe\xfd\r\n",
    "no header": b"\r\nonly a body\r\n",
    "no colon": b"this is no field\r\nSubject: x\r\n\r\nbody\r\n",
    "odd encoded words": b"Subject: =?utf-8?q?=ZZ?= =?x?b?####?= =?utf-8?b?w7z?=\r\n\r\nbody\r\n",
    "odd dates and addresses": b"Date: yesterday, 99\r\nFrom: <<a@@>,;:\r\nTo: (((\r\n\r\nbody\r\n",
    "many levels": b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (level, level) for level in range(300)
    )
    + b"\r\ndeep\r\n",
    "a message within a message within ...": b"Content-Type: message/rfc822\r\n\r\n" * 300 + b"\r\ndeep\r\n",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_broken_mime_is_kept_as_it_is_and_described(
    cluster: ClusterUnderTest, account: tuple[str, str], content: bytes
) -> None:
    with smtplib.SMTP(*cluster.address("smtp"), timeout=SECONDS) as client:
        assert client.sendmail("a@example.net", [account[0]], content, ["BODY=8BITMIME"]) == {}
    box = cluster.imap(account)
    assert box.select() == ("OK", [b"1"])
    status, found = box.fetch("1", "(ENVELOPE BODYSTRUCTURE RFC822.SIZE BODY.PEEK[])")
    assert status == "OK"
    assert found[0][1].endswith(content)
    assert box.search(None, "BODY", "body")[0] == "OK"
    assert box.logout()[0] == "BYE"


IMAP = {
    "unknown command": """
        C: b XYZZY
        S: b BAD ...
    """,
    "no tag": r"""
        C\: \r\n
        S: * BAD ...
    """,
    "arguments that are none": """
        C: b FETCH 1
        S: b BAD ...
        C: c SELECT
        S: c BAD ...
        C: d STATUS INBOX (COLOUR)
        S: d BAD ...
    """,
    "a mailbox that is not there": """
        C: b SELECT "no such box"
        S: b NO ...
    """,
    "a literal that is too large": """
        C: b CREATE {999999999999}
        S: b ...
    """,
    "a message that is too large": """
        C: b APPEND INBOX {99999999999}
        S: b NO [TOOBIG] ...
    """,
    "bytes that are no text": r"""
        C\: b SELECT \xff\xfe\r\n
        S: b ...
    """,
}


@pytest.mark.parametrize("script", IMAP.values(), ids=IMAP)
async def test_imap_refuses_and_goes_on(cluster: ClusterUnderTest, account: tuple[str, str], script: str) -> None:
    begin = """
        S: * OK ...
        C: a LOGIN {name} {password}
        S*: a OK ...
    """
    end = """
        C: y NOOP
        S: y OK ...
        C: z LOGOUT
        S*: z OK ...
        E:
    """
    await play(cluster, "imap", begin + script + end, name=account[0], password=account[1])


async def test_a_truncated_literal_stores_nothing(cluster: ClusterUnderTest, account: tuple[str, str]) -> None:
    conversation = Conversation(to(*cluster.address("imap")), wait=SECONDS)
    script = r"""
        S: * OK ...
        C: a LOGIN {name} {password}
        S*: a OK ...
        C: b APPEND INBOX {1000}
        S: + ...
        C\: Subject: half
    """
    await conversation.play(script, name=account[0], password=account[1])
    await conversation.close()
    box = cluster.imap(account)
    assert box.select() == ("OK", [b"0"])
    box.logout()


class Http:
    """One connection of a client with a login, which must stay open from request to request."""

    def __init__(self, cluster: ClusterUnderTest, protocol: str, account: tuple[str, str]) -> None:
        self._client = http.client.HTTPConnection(*cluster.address(protocol), timeout=SECONDS)
        self._login = "Basic " + base64.b64encode(":".join(account).encode()).decode()

    def ask(self, verb: str, path: str, body: bytes = b"", kind: str = "", **headers: str) -> tuple[int, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._client.request(
            verb, path, body, {"Authorization": self._login, **({"Content-Type": kind} if kind else {}), **named}
        )
        answer = self._client.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        self._client.close()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{not json", "urn:ietf:params:jmap:error:notJSON"),
        (b'{"using": ["urn:ietf:params:jmap:core"]', "urn:ietf:params:jmap:error:notJSON"),
        (b"[" * 100_000, "urn:ietf:params:jmap:error:notJSON"),
        (b"\xff\xfe{}", "urn:ietf:params:jmap:error:notJSON"),
        (b"[]", "urn:ietf:params:jmap:error:notRequest"),
        (b'{"using": "core", "methodCalls": 5}', "urn:ietf:params:jmap:error:notRequest"),
        (b'{"using": ["urn:example:unknown"], "methodCalls": []}', "urn:ietf:params:jmap:error:unknownCapability"),
    ],
)
def test_jmap_refuses_what_is_no_request(
    cluster: ClusterUnderTest, account: tuple[str, str], body: bytes, error: str
) -> None:
    client = Http(cluster, "jmap", account)
    session = json.loads(client.ask("GET", "/.well-known/jmap")[1])
    api = session["apiUrl"].removeprefix(cluster.url("jmap"))
    status, answer = client.ask("POST", api, body, "application/json")
    assert (status, json.loads(answer)["type"]) == (400, error)
    echo = {"using": ["urn:ietf:params:jmap:core"], "methodCalls": [["Core/echo", {"a": 1}, "c"]]}
    status, answer = client.ask("POST", api, json.dumps(echo).encode(), "application/json")
    assert (status, json.loads(answer)["methodResponses"]) == (200, [["Core/echo", {"a": 1}, "c"]])
    client.close()


@pytest.mark.parametrize(("protocol", "path"), [("jmap", "/.well-known/jmap"), ("dav", "/dav/")], ids=["jmap", "dav"])
def test_http_asks_for_the_right_password(
    cluster: ClusterUnderTest, account: tuple[str, str], protocol: str, path: str
) -> None:
    client = Http(cluster, protocol, (account[0], "wrong"))
    assert client.ask("GET" if protocol == "jmap" else "PROPFIND", path)[0] == 401
    client.close()
    client = Http(cluster, protocol, account)
    assert client.ask("GET" if protocol == "jmap" else "PROPFIND", path, Depth="0")[0] in (200, 207)
    client.close()


@pytest.mark.parametrize(
    "body",
    [BILLION_LAUGHS, STRANGER_FILE, b"<propfind", b"<a>" * 100_000, b"\0\1\2", b"<nothing-known/>"],
    ids=["entities in entities", "a foreign file", "cut off", "very deep", "no XML", "another element"],
)
def test_dav_refuses_bad_xml(cluster: ClusterUnderTest, account: tuple[str, str], body: bytes) -> None:
    client = Http(cluster, "dav", account)
    status, answer = client.ask("PROPFIND", "/dav/", body, "application/xml", Depth="0")
    assert 400 <= status < 500, answer
    assert len(answer) < 10_000
    client.close()
    client = Http(cluster, "dav", account)
    assert client.ask("PROPFIND", "/dav/", Depth="0")[0] == 207
    client.close()


def test_dav_refuses_what_is_no_calendar(cluster: ClusterUnderTest, account: tuple[str, str]) -> None:
    client = Http(cluster, "dav", account)
    home = f"/dav/cal/{account[0]}/"
    status, listing = client.ask("PROPFIND", home, Depth="1")
    assert status == 207, listing
    place = next(
        href
        for href in (part.partition(b"</D:href>")[0].decode() for part in listing.split(b"<D:href>")[1:])
        if href.startswith(home) and href.rstrip("/") != home.rstrip("/")
    )
    for broken in (b"no calendar", b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n", b"\xff" * 100):
        status, _ = client.ask("PUT", place + "broken.ics", broken, "text/calendar")
        assert 400 <= status < 500
    assert client.ask("GET", place + "broken.ics")[0] == 404
    client.close()


def test_all_that_left_the_cluster_ready(cluster: ClusterUnderTest, new_account: Callable[[], tuple[str, str]]) -> None:
    """No process has died of anything in this file: mail still goes from one node to the other."""
    account = new_account()
    made = EmailMessage()
    made["Subject"] = "still here"
    with smtplib.SMTP(*cluster.address("smtp", 1), timeout=SECONDS) as client:
        assert client.send_message(made, "a@example.net", [account[0]]) == {}
    box = cluster.imap(account, node=2)
    assert box.select() == ("OK", [b"1"])
    box.logout()
    until("all is ready", cluster.is_ready)
