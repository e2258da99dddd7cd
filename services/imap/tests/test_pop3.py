"""POP3: conversations with the running service, poplib and curl."""

import asyncio
import base64
import poplib
import shutil
import ssl
import subprocess
from typing import Any

import pytest
import structlog

from posthorn_imap.pop3 import lock
from posthorn_imap.pop3.requests import BadRequest, State, read_request, stuffed, top
from posthorn_model.ids import AccountId
from posthorn_testkit.strict import missing

PLAIN = base64.b64encode(b"\0ann@example.org\0secret").decode()
PATIENT = (*lock.PAUSES, *[0.5] * 30)
"""On a busy machine a session may take long to notice that its client is gone."""
FILL = r"""
S: * OK ...
C: l LOGIN ann@example.org secret
S: l OK ...
C\: 1 APPEND INBOX {33+}\r\nSubject: one\r\n\r\nline\r\n.dot\r\nend\r\n\r\n
S: 1 OK ...
C\: 2 APPEND INBOX {19+}\r\nSubject: two\r\n\r\nend\r\n
S: 2 OK [APPENDUID {validity} 2] ...
"""


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"", b"\r\n.\r\n"),
        (b".\r\n..x\r\ny.", b"..\r\n...x\r\ny.\r\n.\r\n"),
        (b"lf\n.only\n", b"lf\r\n..only\r\n.\r\n"),
    ],
)
def test_dot_stuffing(content: bytes, lines: bytes) -> None:
    assert stuffed(content) == lines


def test_top_counts_lines_of_the_body() -> None:
    content = b"A: b\r\n\r\n1\r\n2\r\n3\r\n"
    assert top(content, 8, 0) == b"A: b\r\n\r\n"
    assert top(content, 8, 2) == b"A: b\r\n\r\n1\r\n2\r\n"
    assert top(content, 8, 9) == content


@pytest.mark.parametrize("line", [b"", b"FROB", b"RETR", b"RETR 1 2", b"TOP 1", b"NOOP\0", b"\xff", b"STLS now"])
def test_broken_requests_are_refused(line: bytes) -> None:
    with pytest.raises(BadRequest):
        read_request(line, State.TRANSACTION)


def test_a_password_keeps_its_spaces() -> None:
    assert read_request(b"pass a  b ", State.AUTHORIZATION).arguments == ("a  b ",)


@pytest.mark.postgres
async def test_when_too_many_logins_failed_the_right_password_is_not_judged(imap: Any, lock_out: Any) -> None:
    await lock_out("ann@example.org")
    script = "S: +OK ...\n" + "C: AUTH PLAIN {plain}\nS: -ERR [SYS/TEMP] too many failed logins, try again later\n" * 5
    await imap.play(script + "E:", listener="pop3", plain=PLAIN)


@pytest.mark.postgres
async def test_a_whole_conversation(imap: Any) -> None:
    filled = await imap.play(FILL)
    await imap.play(
        """
        S: +OK mail.example.org POP3 ready
        C: CAPA
        S: +OK Capabilities follow
        S*: USER
        S: SASL SCRAM-SHA-256 PLAIN LOGIN
        S: STLS
        S: .
        C: STAT
        S: -ERR log in first
        C: PASS x
        S: -ERR USER first
        C: USER ann@example.org
        S: +OK Now the password
        C: PASS wrong
        S: -ERR [AUTH] login or password is wrong
        C: USER ann@example.org
        S: +OK ...
        C: PASS secret
        S: +OK 2 messages
        C: STAT
        S: +OK 2 52
        C: LIST
        S: +OK 2 messages
        S: 1 33
        S: 2 19
        S: .
        C: LIST 2
        S: +OK 2 19
        C: LIST 3
        S: -ERR no such message
        C: UIDL
        S: +OK ...
        S: 1 {validity}.1
        S: 2 {validity}.2
        S: .
        C: RETR 1
        S: +OK 33 octets
        S: Subject: one
        S:
        S: line
        S: ..dot
        S: end
        S: .
        C: TOP 1 1
        S: +OK ...
        S: Subject: one
        S:
        S: line
        S: .
        C: DELE 1
        S: +OK ...
        C: DELE 1
        S: -ERR no such message
        C: STAT
        S: +OK 1 19
        C: RSET
        S: +OK 2 messages
        C: DELE 1
        S: +OK ...
        C: NOOP
        S: +OK ...
        C: RETR x
        S: -ERR expected a number
        C: FROB
        S: -ERR unknown command
        C: QUIT
        S: +OK Bye
        E:
        """,
        listener="pop3",
        validity=filled.variables["validity"],
    )
    await filled.play('C: 3 STATUS INBOX (MESSAGES)\nS: * STATUS "INBOX" (MESSAGES 1)\nS: 3 OK ...')


@pytest.mark.postgres
async def test_sasl_tls_and_a_lost_connection_deletes_nothing(imap: Any) -> None:
    filled = await imap.play(FILL)
    conversation = await imap.play(
        """
        S: +OK ...
        C: STLS
        S: +OK Begin TLS negotiation
        TLS:
        C: STLS
        S: -ERR STLS is not offered now
        C: AUTH PLAIN
        S: + ...
        C: {plain}
        S: +OK 2 messages
        C: DELE 1
        S: +OK ...
        """,
        listener="pop3",
        plain=PLAIN,
    )
    await conversation.close()
    await filled.play('C: 3 STATUS INBOX (MESSAGES)\nS: * STATUS "INBOX" (MESSAGES 2)\nS: 3 OK ...')


@pytest.mark.postgres
async def test_garbage_and_over_long_lines_end_it(imap: Any) -> None:
    await imap.play("S: +OK ...\nC: GET /\nS: -ERR ...\nC: A\nS: -ERR ...\nC: B\nS: -ERR ...\nE:", listener="pop3")
    await imap.play(f"S: +OK ...\nC\\: {'x' * 300}\nS: -ERR line too long\nE:", listener="pop3")


@pytest.mark.postgres
@pytest.mark.peers
async def test_poplib_and_curl(imap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PAUSES", PATIENT)
    await imap.play(FILL)
    host, port = imap.address("pop3")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def work() -> None:
        client = poplib.POP3(host, port, timeout=60)
        client.stls(context)
        client.user("ann@example.org")
        client.pass_("secret")
        assert client.stat() == (2, 52)
        assert client.retr(1)[1] == [b"Subject: one", b"", b"line", b".dot", b"end"]
        client.dele(2)
        client.quit()

    await asyncio.to_thread(work)
    curl = shutil.which("curl")
    if curl is None:
        missing("curl is not installed")
    arguments = [curl, "-sS", "--insecure", "--ssl-reqd", "--user", "ann@example.org:secret", f"pop3://{host}:{port}/1"]
    done = await asyncio.to_thread(subprocess.run, arguments, capture_output=True, timeout=60, check=True)
    assert done.stdout == b"Subject: one\r\n\r\nline\r\n.dot\r\nend\r\n"


@pytest.mark.postgres
async def test_one_session_at_a_time_has_the_maildrop(imap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PAUSES", (0.01,))
    await imap.play(FILL)
    login = "C: USER ann@example.org\nS: +OK ...\nC: PASS secret\n"
    first = await imap.play(f"S: +OK ...\n{login}S: +OK 2 messages\nC: DELE 1\nS: +OK ...", listener="pop3")
    await imap.play(f"S: +OK ...\n{login}S: -ERR [IN-USE] another session has the maildrop\nE:", listener="pop3")
    await imap.play("S: +OK ...\nC: AUTH PLAIN {plain}\nS: -ERR [IN-USE] ...\nE:", listener="pop3", plain=PLAIN)
    await first.play("C: QUIT\nS: +OK Bye")
    await imap.play(f"S: +OK ...\n{login}S: +OK 1 messages\nC: QUIT\nS: +OK Bye", listener="pop3")


@pytest.mark.postgres
async def test_who_comes_back_after_a_lost_connection_finds_the_maildrop_free(
    imap: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "PAUSES", PATIENT)
    login = "S: +OK ...\nC: USER ann@example.org\nS: +OK ...\nC: PASS secret\nS: +OK 0 messages\n"
    for _ in range(3):
        lost = await imap.play(login, listener="pop3")
        await lost.close()


@pytest.mark.postgres
async def test_a_lock_that_another_session_took_is_not_given_back(storage: Any) -> None:
    log = structlog.get_logger()
    one, other = (lock.Lock(storage.lookup, AccountId(1), log) for _ in range(2))
    await one.take()
    await storage.lookup.drop([lock.lookup_key("pop3", "1")])
    await other.take()
    await one.give()
    assert await storage.lookup.get([lock.lookup_key("pop3", "1")]) == {lock.lookup_key("pop3", "1"): other._token}
    await other.give()
    await other.give()


@pytest.mark.postgres
async def test_utf8_and_languages(imap: Any, account: Any) -> None:
    await account("zoë@example.org", password="gehëim")
    await imap.play(
        """
        S: +OK ...
        C: CAPA
        S*: UTF8 USER
        S: LANG
        S*: .
        C: LANG
        S: +OK ...
        S: en English
        S: .
        C: LANG *
        S: +OK en English it is
        C: LANG de
        S: -ERR only English is spoken here
        C: UTF8
        S: +OK UTF-8 it is
        C: USER zoë@example.org
        S: +OK ...
        C: PASS gehëim
        S: +OK 0 messages
        C: UTF8
        S: -ERR already logged in
        C: LANG EN
        S: +OK en ...
        """,
        listener="pop3",
    )
