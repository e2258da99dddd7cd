"""Conversations that put messages together out of texts and parts of others (RFC 4469)."""

from typing import Any

import pytest

from posthorn_imap.protocol.message_urls import BadUrl, message_url

LOGIN = """
S: * OK ...
C: l LOGIN ann@example.org secret
S: l OK [CAPABILITY ... CATENATE ...
"""
WHOLE = (
    b"Subject: whole\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n"
    b"Content-Type: text/x\r\n\r\ntwo\r\n--b--\r\n"
)


def literal(octets: bytes) -> str:
    return f"{{{len(octets)}+}}\\r\\n{octets.decode('latin-1').encode('unicode_escape').decode()}"


FILLED = (
    LOGIN
    + f"C\\: a APPEND INBOX {literal(WHOLE)}\\r\\n\n"
    + "S: a OK [APPENDUID {validity} 1] ...\nC: s SELECT INBOX\nS*: s OK ...\n"
)


@pytest.mark.parametrize(
    ("text", "mailbox", "uid", "name"),
    [
        (b"/INBOX;UIDVALIDITY=3/;UID=20/;SECTION=HEADER", "INBOX", 20, b"BODY[HEADER]"),
        (b"/Lists/a%20b/;uid=4294967295", "Lists/a b", 4294967295, b"BODY[]"),
        (b";UID=1/;section=1.2.MIME", "", 1, b"BODY[1.2.MIME]"),
        (b"/;UID=1/;SECTION=TEXT/;PARTIAL=5.10", "", 1, b"BODY[TEXT]<5>"),
        (b"/Entw%C3%BCrfe/;UID=1/;PARTIAL=5", "Entwürfe", 1, b"BODY[]<5>"),
    ],
)
def test_urls(text: bytes, mailbox: str, uid: int, name: bytes) -> None:
    found = message_url(text)
    assert (found.mailbox, found.uid, found.section.name) == (mailbox, uid, name)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"/INBOX",
        b"/INBOX/;UID=0x1",
        b"/INBOX/;UID=4294967296",
        b"imap://other.example/INBOX/;UID=1",
        b"/INBOX/;UID=1;URLAUTH=anonymous:INTERNAL:00",
        b"/INBOX/;UID=1/;SECTION=1.FOO",
        b"/INBOX/;UID=1/;SECTION=1] UID [",
        b"/INBOX/;UID=1/;SECTION=1]<0.1>",
        b"/%FF/;UID=1",
        b"/\xff/;UID=1",
        b"/" + b"a" * 5000 + b"/;UID=1",
        b"/" + b";" * 4000,
    ],
    ids=lambda text: repr(text[:40]),
)
def test_what_is_no_url_of_a_message_here(text: bytes) -> None:
    with pytest.raises(BadUrl) as problem:
        message_url(text)
    assert b"]" not in problem.value.code
    assert problem.value.code.isascii()


@pytest.mark.postgres
async def test_texts_and_parts_become_a_message(imap: Any) -> None:
    parts = (
        f"TEXT {literal(b'Subject: new' + bytes([13, 10]))} "
        'URL "/INBOX;UIDVALIDITY={validity}/;UID=1/;SECTION=2.MIME" URL ";UID=1/;section=1" '
        f'TEXT {literal(b"==")} URL "/;UID=1/;SECTION=2/;PARTIAL=1.2"'
    )
    await imap.play(
        FILLED
        + f"C\\: 1 APPEND INBOX (\\\\Draft) CATENATE ({parts}) CATENATE (URL /INBOX/;UID=1)\\r\\n\n"
        + r"""
        S: * 3 EXISTS
        S: * 3 RECENT
        S: 1 OK [APPENDUID {validity} 2:3] APPEND completed
        C: 2 FETCH 2 (FLAGS BODY.PEEK[])
        S: * 2 FETCH (FLAGS (\Draft \Recent) BODY[] {size}
        S: Subject: new
        S: Content-Type: text/x
        S:
        S: one==wo)
        S: 2 OK ...
        C: 3 FETCH 3 (RFC822.SIZE)
        S: * 3 FETCH (RFC822.SIZE {whole})
        S: 3 OK ...
        C\: 4 UID REPLACE 2 INBOX CATENATE (URL "/;UID=2" TEXT {1+}\r\n!)\r\n
        S: * OK [APPENDUID {validity} 4] Replaced
        S: * 2 EXPUNGE
        S*: 4 OK ...
        C: 5 UID FETCH 4 RFC822.SIZE
        S: * 3 FETCH (UID 4 RFC822.SIZE 46)
        S: 5 OK ...
        """,
        size="{45}",
        whole=len(WHOLE),
    )
    assert imap.parts.append_memory.used == 0


@pytest.mark.postgres
async def test_what_leads_nowhere_is_named_and_nothing_is_stored(imap_server: Any, account: Any) -> None:
    await account("ann@example.org", password="secret")
    await account("bob@example.org", password="hidden")
    server = await imap_server(append_limit=65536)
    await server.play(
        FILLED
        + r"""
        C: 1 APPEND INBOX CATENATE (URL "/INBOX/;UID=9")
        S: 1 NO [BADURL "/INBOX/;UID=9"] ...
        C: 2 APPEND INBOX CATENATE (URL "/INBOX;UIDVALIDITY=1/;UID=1")
        S: 2 NO [BADURL "/INBOX;UIDVALIDITY=1/;UID=1"] ...
        C: 3 APPEND INBOX CATENATE (URL "/Nowhere/;UID=1")
        S: 3 NO [BADURL ...
        C: 4 APPEND INBOX CATENATE (URL "/INBOX/;UID=1/;SECTION=7")
        S: 4 NO [BADURL ...
        C: 5 APPEND INBOX CATENATE (URL "imap://x/INBOX/;UID=1")
        S: 5 NO [BADURL ...
        C: 6 APPEND Nowhere CATENATE (URL "/INBOX/;UID=1")
        S: 6 NO [TRYCREATE] ...
        C: 7 APPEND INBOX CATENATE ()
        S: 7 BAD ...
        C: 8 APPEND INBOX CATENATE (TEXT "x")
        S: 8 BAD ...
        C\: 9 APPEND INBOX CATENATE (TEXT {0+}\r\n)\r\n
        S: 9 NO An empty message cannot be stored
        C\: 10 APPEND INBOX {40000+}\r\n{large}\r\n
        S: * 2 EXISTS
        S: * 2 RECENT
        S: 10 OK ...
        C: 11 APPEND INBOX CATENATE (URL "/;UID=2" URL "/;UID=2")
        S: 11 NO [TOOBIG] ...
        C: 12 STATUS INBOX (MESSAGES)
        S: * STATUS "INBOX" (MESSAGES 2)
        S: 12 OK ...
        2 S: * OK ...
        2 C: l LOGIN bob@example.org hidden
        2 S: l OK ...
        2 C: 1 APPEND INBOX CATENATE (URL "/INBOX/;UID=1")
        2 S: 1 NO [BADURL ...
        2 C: 2 APPEND INBOX CATENATE (URL "/;UID=1")
        2 S: 2 NO [BADURL ...
        """,
        large="a" * 40000,
    )
    assert server.parts.append_memory.used == 0
