"""Conversations about URLs that lend rights (RFC 4467)."""

from typing import Any

import pytest

from posthorn_imap.protocol.grammar import CommandProblem, read_request
from posthorn_imap.protocol.message_urls import BadUrl
from posthorn_imap.protocol.url_access import GenUrlAuth, ResetKey, UrlFetch, access_url, proves, token_of

RUMP = (
    b"imap://ann%40example.org@mail.example.org/INBOX/;UID=1/;SECTION=TEXT;EXPIRE=2099-01-01T00:00:00Z;URLAUTH=user+bob"
)


def test_a_url_is_read_and_proved_by_its_key() -> None:
    url = access_url(RUMP)
    assert (url.user, url.message.mailbox, url.message.uid, url.kind, url.name) == (
        "ann@example.org",
        "INBOX",
        1,
        "user",
        "bob",
    )
    assert url.expires is not None
    assert url.expires.year == 2099
    assert not proves(url, b"key")
    whole = RUMP + b":INTERNAL:" + token_of(RUMP, b"key").encode()
    assert proves(access_url(whole), b"key")
    assert not proves(access_url(whole), b"other")
    assert not proves(access_url(whole.replace(b"UID=1", b"UID=2")), b"key")
    assert not proves(access_url(whole.replace(b"user+bob", b"authuser")), b"key")
    assert not proves(access_url(whole.replace(b"INTERNAL", b"EXTERNAL")), b"key")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"imap://ann@h/INBOX/;UID=1",
        b"imap://h/INBOX/;UID=1;URLAUTH=anonymous",
        b"imap://ann@h/;UID=1;URLAUTH=anonymous",
        b"imap://ann@h/INBOX/;UID=1;URLAUTH=everybody",
        b"imap://ann@h/INBOX/;UID=1;URLAUTH=user",
        b"imap://ann@h/INBOX/;UID=1;URLAUTH=authuser+ann",
        b"imap://ann@h/INBOX/;UID=1;EXPIRE=2099-13-01T00:00:00Z;URLAUTH=anonymous",
        b"imap://ann@h/INBOX/;UID=1;EXPIRE=2099-01-01T00:00:00.0;URLAUTH=anonymous",
        b"imap://ann@h/INBOX/;UID=1;URLAUTH=anonymous:INTERNAL:12",
        b"imap://ann%ff@h/INBOX/;UID=1;URLAUTH=anonymous",
        b"imap://ann@h/" + b"x" * 5000 + b"/;UID=1;URLAUTH=anonymous",
    ],
    ids=range(12),
)
def test_what_is_no_such_url(text: bytes) -> None:
    with pytest.raises(BadUrl):
        access_url(text)


def test_commands_are_read() -> None:
    assert read_request((b'a GENURLAUTH "x" INTERNAL y internal',)).command == GenUrlAuth((b"x", b"y"))
    assert read_request((b"a RESETKEY",)).command == ResetKey(None)
    assert read_request((b"a RESETKEY inbox INTERNAL",)).command == ResetKey("INBOX")
    assert read_request((b'a URLFETCH "x" y',)).command == UrlFetch((b"x", b"y"))
    for wrong in (b"GENURLAUTH x", b"GENURLAUTH x XSAMPLE", b"URLFETCH", b"URLFETCH" + b" x" * 65):
        with pytest.raises(CommandProblem):
            read_request((b"a " + wrong,))


START = r"""
S: * OK ...
C: l LOGIN ann@example.org secret
S: l OK ...
C\: a APPEND INBOX {22+}\r\nSubject: one\r\n\r\ntext\r\n\r\n
S: a OK ...
2 S: * OK ...
2 C: l LOGIN bob@example.org hidden
2 S: l OK [CAPABILITY ... URLAUTH ...
"""
URL = "imap://ann%40example.org@mail.example.org/INBOX/;UID=1/;SECTION=TEXT"


@pytest.mark.postgres
async def test_rights_are_lent_and_taken_back(imap: Any, account: Any) -> None:
    await account("bob@example.org", password="hidden")
    await account("eve@example.org", password="third")
    await imap.play(
        START
        + r"""
        C: 1 GENURLAUTH "{url};URLAUTH=user+bob@example.org" INTERNAL "{url};URLAUTH=authuser" INTERNAL
        S: * GENURLAUTH "{bobs}" "{everybodys}"
        S: 1 OK GENURLAUTH completed
        2 C: 1 URLFETCH "{bobs}"
        2 S: * URLFETCH "{bobs}" {6}
        2 S: text
        2 S: ...
        2 S: 1 OK URLFETCH completed
        3 S: * OK ...
        3 C: l LOGIN eve@example.org third
        3 S: l OK ...
        3 C: 1 URLFETCH "{bobs}" "{everybodys}"
        3 S: * URLFETCH "{bobs}" NIL
        3 S: * URLFETCH "{everybodys}" {6}
        3 S: text
        3 S: ...
        3 S: 1 OK ...
        2 C\: 2 APPEND INBOX CATENATE (TEXT {10+}\r\nSubject: x URL "/INBOX/;UID=1")\r\n
        2 S: 2 NO [BADURL ...
        2 C\: 3 APPEND INBOX CATENATE (TEXT {14+}\r\nSubject: x\r\n\r\n URL "{bobs}")\r\n
        2 S: 3 OK ...
        2 C: 4 SELECT INBOX
        2 S*: 4 OK ...
        2 C: 5 FETCH 1 BODY[TEXT]
        2 S: * 1 FETCH (BODY[TEXT] {6}
        2 S: text
        2 S*: 5 OK ...
        2 C: 6 RESETKEY
        2 S: 6 OK [URLMECH INTERNAL] RESETKEY completed
        2 C: 7 URLFETCH "{bobs}x" "{url};URLAUTH=authuser" "nothing"
        2 S: * URLFETCH "{bobs}x" NIL
        2 S: * URLFETCH "{url};URLAUTH=authuser" NIL
        2 S: * URLFETCH "nothing" NIL
        2 S: 7 OK ...
        C: 2 RESETKEY INBOX INTERNAL
        S: 2 OK [URLMECH INTERNAL] ...
        2 C: 8 URLFETCH "{bobs}"
        2 S: * URLFETCH "{bobs}" NIL
        2 S: 8 OK ...
        """,
        url=URL,
    )


@pytest.mark.postgres
async def test_nobody_lends_what_is_not_his_or_not_any_more(imap: Any, account: Any) -> None:
    await account("bob@example.org", password="hidden")
    box = "imap://bob%40example.org@h/Other%20Users/ann@example.org/INBOX/;UID=1"
    await imap.play(
        START
        + r"""
        2 C: 1 GENURLAUTH "{url};URLAUTH=authuser" INTERNAL
        2 S: 1 NO [BADURL ...
        2 C: 2 GENURLAUTH "{box};URLAUTH=authuser" INTERNAL
        2 S: 2 NO [NONEXISTENT] ...
        C: 1 SETACL INBOX bob@example.org lr
        S: 1 OK ...
        2 C: 3 GENURLAUTH "{box};URLAUTH=authuser" INTERNAL
        2 S: * GENURLAUTH "{lent}"
        2 S: 3 OK ...
        C: 2 URLFETCH "{lent}"
        S: * URLFETCH "{lent}" {22}
        S*: 2 OK ...
        C: 3 SETACL INBOX bob@example.org l
        S: 3 OK ...
        C: 4 URLFETCH "{lent}"
        S: * URLFETCH "{lent}" NIL
        S: 4 OK ...
        C: 5 GENURLAUTH "{url};EXPIRE=2020-01-01T00:00:00Z;URLAUTH=authuser" INTERNAL
        S: * GENURLAUTH "{late}"
        S: 5 OK ...
        C: 5 GENURLAUTH "{url};URLAUTH=submit+ann@example.org" INTERNAL
        S: * GENURLAUTH "{submits}"
        S: 5 OK ...
        C: 6 URLFETCH "{late}" "{submits}"
        S: * URLFETCH "{late}" NIL
        S: * URLFETCH "{submits}" NIL
        S: 6 OK ...
        """,
        url=URL,
        box=box,
    )
