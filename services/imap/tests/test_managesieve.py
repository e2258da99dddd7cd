"""ManageSieve: frames, conversations with the running service, and a real client."""

import asyncio
import base64
from typing import Any

import pytest

from posthorn_imap.managesieve.framer import FAR_TOO_LARGE, MAX_LINE, Broken, Frame, Framer, Word
from posthorn_imap.managesieve.requests import BadRequest, State, read_request
from posthorn_imap.managesieve.responses import done, string
from posthorn_storage.sieve_scripts import MAX_SIZE

PLAIN = base64.b64encode(b"\0ann@example.org\0secret").decode()
LOGIN = 'S*: OK ...\nC: AUTHENTICATE "PLAIN" "{plain}"\nS: OK ...\n'

FRAMES = (
    b"NOOP\r\n"
    b'putscript  "a \\"b\\\\" {10+}\r\nkeep;\r\n"x"\r\n'
    b"HAVESPACE {3+}\r\n\xc3\xa9x 99\r\n"
    b"RENAMESCRIPT {1+}\r\na {1+}\r\nb\r\n"
    b"\r\n"
)
READ = [
    Frame((Word("NOOP"),)),
    Frame((Word("putscript"), b'a "b\\', b'keep;\r\n"x"')),
    Frame((Word("HAVESPACE"), b"\xc3\xa9x", Word("99"))),
    Frame((Word("RENAMESCRIPT"), b"a", b"b")),
    Frame(()),
]


def frames(framer: Framer) -> list[Frame | Broken]:
    found = []
    while (frame := framer.next()) is not None:
        found.append(frame)
        if isinstance(frame, Broken) and frame.fatal:
            break
    return found


def test_frames_whole_and_octet_by_octet() -> None:
    framer = Framer(100)
    framer.feed(FRAMES + b"LOG")
    assert frames(framer) == READ
    framer.feed(b"OUT\r\n")
    assert frames(framer) == [Frame((Word("LOGOUT"),))]
    slow, found = Framer(100), []
    for number in range(len(FRAMES)):
        slow.feed(FRAMES[number : number + 1])
        found += frames(slow)
    assert found == READ


def test_a_literal_that_is_too_large_is_read_past() -> None:
    framer = Framer(10)
    framer.feed(b'PUTSCRIPT "a" {11+}\r\n')
    for _ in range(11):
        framer.feed(b"\n")
        assert framer.next() is None
    framer.feed(b' "x"\r\nNOOP\r\n')
    assert frames(framer) == [Broken("a literal is too large", too_large=True), Frame((Word("NOOP"),))]


@pytest.mark.parametrize(
    "data",
    [b"x" * (MAX_LINE + 1), b"x" * (MAX_LINE + 1) + b"\r\n", b"PUT {%d+}\r\n" % (FAR_TOO_LARGE + 1), b"PUT {5}\r\n",
     b"PUT " + b"{1+}\r\nx" * 9 + b"\r\n"],
)  # fmt: skip
def test_what_nobody_can_go_on_after(data: bytes) -> None:
    framer = Framer(100)
    framer.feed(data)
    (broken,) = frames(framer)
    assert isinstance(broken, Broken)
    assert broken.fatal


@pytest.mark.parametrize("line", [b'PUTSCRIPT "open', b"(", b'"a""b"', b"a\x00b", b'NOOP "a\\x"', b"\xff"])
def test_a_broken_line_does_not_end_it(line: bytes) -> None:
    framer = Framer(100)
    framer.feed(line + b"\r\nNOOP\r\n")
    broken, following = frames(framer)
    assert isinstance(broken, Broken)
    assert following == Frame((Word("NOOP"),))


@pytest.mark.parametrize(
    ("tokens", "state"),
    [
        ((b"NOOP",), State.AUTHENTICATED),
        ((Word("FROB"),), State.AUTHENTICATED),
        ((Word("HAVESPACE"), b"a"), State.AUTHENTICATED),
        ((Word("HAVESPACE"), b"a", Word("1x")), State.AUTHENTICATED),
        ((Word("PUTSCRIPT"), b"a"), State.AUTHENTICATED),
        ((Word("GETSCRIPT"), Word("a")), State.AUTHENTICATED),
        ((Word("LISTSCRIPTS"), b"a"), State.AUTHENTICATED),
        ((Word("LISTSCRIPTS"),), State.NOT_AUTHENTICATED),
        ((Word("STARTTLS"),), State.AUTHENTICATED),
    ],
)
def test_requests_that_are_refused(tokens: Any, state: State) -> None:
    with pytest.raises(BadRequest):
        read_request(Frame(tokens), state)


def test_strings_are_quoted_or_literals() -> None:
    assert string('a "b\\') == b'"a \\"b\\\\"'
    assert string("a\r\nb") == b"{4}\r\na\r\nb"
    assert string("x" * 1025) == b"{1025}\r\n" + b"x" * 1025
    assert done("NO", "two\r\nlines", "QUOTA/MAXSIZE") == b'NO (QUOTA/MAXSIZE) "two lines"\r\n'


@pytest.mark.postgres
async def test_a_whole_conversation(imap: Any) -> None:
    await imap.play(
        r"""
        S: "IMPLEMENTATION" "Posthorn"
        S: "SASL" "SCRAM-SHA-256 PLAIN LOGIN"
        S: "SIEVE" "... fileinto ... vacation ..."
        S: "NOTIFY" "mailto"
        S: "MAXREDIRECTS" "5"
        S: "UNAUTHENTICATE"
        S: "VERSION" "1.0"
        S: OK "mail.example.org ManageSieve ready"
        C: LISTSCRIPTS
        S: NO "log in first"
        C: AUTHENTICATE "PLAIN" "AGFubkBleGFtcGxlLm9yZwB3cm9uZw=="
        S: NO "login or password is wrong"
        C: AUTHENTICATE "NONE"
        S: NO ...
        C: AUTHENTICATE "PLAIN"
        S: ""
        C: "*"
        S: NO ...
        C: AUTHENTICATE "PLAIN"
        S: ""
        C: "{plain}"
        S: OK "Logged in"
        C: CAPABILITY
        S*: "OWNER" "ann@example.org"
        S: OK
        C: NOOP "a\"b"
        S: OK (TAG "a\"b") "Done"
        C: LISTSCRIPTS
        S: OK
        C: HAVESPACE "first" 1000
        S: OK
        C: HAVESPACE "first" 99999999
        S: NO (QUOTA/MAXSIZE) ...
        C\: PUTSCRIPT "first" {14+}\r\nkeep;\r\nstop;\r\n\r\n
        S: OK "Stored"
        C\: PUTSCRIPT "second" {12+}\r\nkeep;\r\nkep;\r\n
        S: NO "line 2, column 1: unknown command 'kep' (no extension has it)"
        C: PUTSCRIPT "" "keep;"
        S: NO ...
        C: PUTSCRIPT "zweites Büro" "stop;"
        S: OK "Stored"
        C: CHECKSCRIPT "fileinto \"x\";"
        S: NO "line 1, column 1: 'fileinto' needs the extension 'fileinto': require \"fileinto\""
        C: CHECKSCRIPT "keep;"
        S: OK ...
        C: SETACTIVE "first"
        S: OK
        C: SETACTIVE "none"
        S: NO (NONEXISTENT) ...
        C: LISTSCRIPTS
        S: "first" ACTIVE
        S: "zweites Büro"
        S: OK
        C: GETSCRIPT "first"
        S: {14}
        S: keep;
        S: stop;
        S:
        S: OK
        C: GETSCRIPT "none"
        S: NO (NONEXISTENT) ...
        C: DELETESCRIPT "first"
        S: NO (ACTIVE) ...
        C: RENAMESCRIPT "first" "zweites Büro"
        S: NO (ALREADYEXISTS) ...
        C: RENAMESCRIPT "first" "other"
        S: OK
        C: SETACTIVE ""
        S: OK
        C: DELETESCRIPT "other"
        S: OK
        C: UNAUTHENTICATE
        S: OK
        C: LISTSCRIPTS
        S: NO "log in first"
        C: AUTHENTICATE "PLAIN" "{plain}"
        S: OK ...
        C: LISTSCRIPTS
        S: "zweites Büro"
        S: OK
        C: LOGOUT
        S: OK "Goodbye"
        E:
        """,
        listener="sieve",
        plain=PLAIN,
    )


@pytest.mark.postgres
async def test_bad_input_gets_an_answer(imap: Any) -> None:
    await imap.play(
        LOGIN
        + r"""
        C\: PUTSCRIPT "big" {131073+}\r\n
        """
        + "C: "
        + "#" * (MAX_SIZE + 1)
        + """
        S: NO (QUOTA/MAXSIZE) ...
        C: CHECKSCRIPT {5}
        S: BYE ...
        E:
        """,
        listener="sieve",
        plain=PLAIN,
    )
    await imap.play(
        'S*: OK ...\nC: frob\nS: NO ...\nC: (\nS: NO ...\nC: ""\nS: NO ...\nS: BYE ...\nE:', listener="sieve"
    )


@pytest.mark.postgres
async def test_tls_comes_before_the_password(imap: Any) -> None:
    await imap.play(
        """
        S*: "SASL" ""
        S*: "STARTTLS"
        S: OK ...
        C: AUTHENTICATE "PLAIN" "{plain}"
        S: NO (ENCRYPT-NEEDED) ...
        C: STARTTLS
        S: OK ...
        TLS:
        S*: "SASL" "... PLAIN ..."
        S*: OK
        C: STARTTLS
        S: NO ...
        C: AUTHENTICATE "PLAIN" "{plain}"
        S: OK ...
        C: LOGOUT
        S: OK ...
        """,
        listener="sieve-starttls",
        plain=PLAIN,
    )


@pytest.mark.postgres
@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:Credentials are sent")
async def test_a_client_of_the_field(imap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    managesieve = pytest.importorskip("sievelib.managesieve")
    monkeypatch.setattr(managesieve.Client, "read_timeout", 60)
    host, port = imap.address("sieve")

    def work() -> list[Any]:
        client = managesieve.Client(host, port)
        said: list[Any] = [client.connect("ann@example.org", "secret", authmech="PLAIN")]
        said += [client.havespace("one", 100), client.putscript("one", 'require "fileinto";\r\nfileinto "Wörk";\r\n')]
        said += [client.putscript("bad", "frobnicate;"), client.setactive("one"), client.listscripts()]
        said += [
            client.getscript("one"),
            client.renamescript("one", "two"),
            client.setactive(""),
            client.deletescript("two"),
        ]
        said.append(client.listscripts())
        client.logout()
        return said

    assert await asyncio.to_thread(work) == [
        True, True, True, False, True, ("one", []), 'require "fileinto";\nfileinto "Wörk";', True, True, True,
        (None, []),
    ]  # fmt: skip
