"""What is fuzzed: each target takes any bytes and raises only when something is wrong. None of them does IO.

The first octets of an input choose how it is cut and what the server says; the rest is what came over the wire.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from uuid import UUID

from tests.fuzz import imap

from posthorn_mail_format import summarize
from posthorn_sieve import InvalidScript, Limits, Outcome, Situation, compile_script, evaluate
from posthorn_smtp_in.protocol import replies
from posthorn_smtp_in.protocol.commands import Bare, Verb
from posthorn_smtp_in.protocol.content import ContentLimits, DotReader, Fault, flood_size
from posthorn_smtp_in.protocol.dialogue import (
    MAX_AUTH_LINE,
    ChunkEnd,
    ContentEnd,
    ContentPiece,
    Dialogue,
    Event,
    Malformed,
)
from posthorn_smtp_in.submission_fields import mend
from posthorn_smtp_in.trace import count_received

LIMITS = ContentLimits(size=4096)
NO = replies.reply(550, "5.7.1", "No")
LATER = replies.reply(451, "4.3.0", "Later")
MORE = replies.reply(334, "", "")
END = b"\r\n.\r\n"
_FAULTY = re.compile(rb"\r(?!\n)|(?<!\r)\n|\x00|[^\n]{1000}")
_WHOLE_REPLIES = re.compile(rb"(?:\d{3}-[^\r\n]*\r\n)*\d{3} [^\r\n]*\r\n")
MOST_PER_MESSAGE = 40
"""Octets of a summary for each octet of a message, at the most, beyond a fixed part."""


def dialogue(data: bytes) -> None:
    """Every event has one answer, answers are whole replies, and no more is held than one line or piece."""
    how, wire = data[:8].ljust(8, b"\0"), data[8:]
    talk = Dialogue(LIMITS, lmtp=bool(how[0] & 1))
    turn = 0
    for piece in _cut(wire, how[1:4]):
        talk.feed(piece)
        while (event := talk.next_event()) is not None:
            if isinstance(event, ContentPiece):
                assert event.data
                continue
            turn += 1
            sent = talk.answer(_answer(event, how[4 + turn % 4]))
            assert _WHOLE_REPLIES.fullmatch(sent), sent
        # What is left belongs to a line that has no end yet; it is never longer than one line may be, and one piece.
        assert len(talk._buffer) <= MAX_AUTH_LINE + len(piece)


def _answer(event: Event, mood: int) -> replies.Reply:
    """What a server may say, mostly yes."""
    if isinstance(event, Malformed):
        return event.reply
    if isinstance(event, ContentEnd | ChunkEnd) and event.fault is not None:
        return NO
    if mood % 16 == 15:
        return LATER if mood & 16 else NO
    if event == Bare(Verb.DATA):
        return replies.START_CONTENT
    if event == Bare(Verb.QUIT):
        return replies.BYE
    return MORE if getattr(event, "verb", None) is Verb.AUTH else replies.OK


def content(data: bytes) -> None:
    """The reader agrees with a search over the whole wire: where content ends, what it is, whether it is faulty."""
    how, wire = data[:3].ljust(3, b"\0"), data[3:]
    body, end, rest = (b"\r\n" + wire).partition(END)
    reader, found, left = DotReader(LIMITS), b"", b""
    for piece in _cut(wire, how):
        if reader.done:
            left += piece
        else:
            kept, left = reader.feed(piece)
            found += kept
    assert reader.done == bool(end)
    assert len(found) <= flood_size(LIMITS)
    if end:
        wanted = (body + b"\r\n").replace(b"\r\n.", b"\r\n")[2:]
        faulty = _FAULTY.search(wanted) is not None or len(wanted) > LIMITS.size
        assert left == rest
        assert (reader.rules.fault is not None) == faulty
        assert faulty or found == wanted
    elif len(wire) > flood_size(LIMITS) + 2 * len(END):
        assert reader.rules.fault in (Fault.FLOOD, Fault.TOO_LARGE) or _FAULTY.search(wire)


def message(data: bytes) -> None:
    """A header section is mended and counted, a message is scanned; what is kept of it is bounded."""
    head = data[: data.find(b"\r\n\r\n") + 4] if b"\r\n\r\n" in data else data
    count_received(head)
    mended = mend(head, hostname="mx.example.org", delivery=DELIVERY, at=0.0)
    assert len(mended) <= len(head) + 1000
    summary = summarize(data)
    kept = (summary.envelope, summary.body_structure, summary.body, summary.structure, summary.listing, summary.headers)
    assert sum(map(len, kept)) <= 100_000 + MOST_PER_MESSAGE * len(data)
    for text in (summary.subject, summary.preview, summary.search_text):
        assert "\0" not in text
        text.encode()


def sieve(data: bytes) -> None:
    """A script is refused or runs over a message to an outcome, in a bounded number of steps."""
    script, _, letter = data.partition(b"\0")
    try:
        compiled = compile_script(script)
    except InvalidScript:
        return
    found = evaluate(
        compiled, Situation(letter or b"Subject: x\r\n\r\nx\r\n", "a@b.org", "c@d.org", NOW, limits=SCRIPT_LIMITS)
    )
    if isinstance(found, Outcome):
        assert found.steps <= SCRIPT_LIMITS.steps + SCRIPT_LIMITS.content_growth
        assert len(found.actions) <= SCRIPT_LIMITS.actions + 1


DELIVERY = UUID(int=0)
NOW = datetime(2026, 11, 25, tzinfo=UTC)
SCRIPT_LIMITS = Limits(steps=5000, content_growth=65_536)
TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "dialogue": dialogue,
    "content": content,
    "message": message,
    "sieve": sieve,
    "imap": imap.commands,
    "threads": imap.threads,
}
CHOOSING: Mapping[str, int] = {"dialogue": 8, "content": 3, "message": 0, "sieve": 0, "imap": 0, "threads": 0}
"""Octets at the start of an input that are not of the wire."""
TOKENS: Mapping[str, tuple[bytes, ...]] = {
    "dialogue": (
        *(b"EHLO c\r\n", b"LHLO c\r\n", b"MAIL FROM:<a@b.org>", b"RCPT TO:<c@d.org>", b"DATA\r\n", b"BDAT 3\r\n"),
        *(b"BDAT 5 LAST\r\n", b"BDAT 99999999999 LAST\r\n", b"AUTH PLAIN\r\n", b"AUTH LOGIN =\r\n", b"STARTTLS\r\n"),
        *(b"RSET\r\n", b"QUIT\r\n", b"NOOP ", b"VRFY x\r\n", b" SIZE=1", b" BODY=8BITMIME", b" SMTPUTF8", b" NOTIFY="),
        *(b" ORCPT=rfc822;", b"*\r\n", b"\r\n.\r\n", b"\r\n", b"\r", b"\n", b".", b"\0", b"x" * 600, b"\xc3\xa4", b"<"),
    ),
    "content": (b"\r\n.\r\n", b"\r\n", b"\r", b"\n", b".", b"..", b"\0", b"a", b"x" * 500, b"MAIL FROM:<a@b.org>\r\n"),
    "message": (
        *(b"Subject: ", b"From: ", b"To: ", b"Date: Wed, 25 Nov 2026 00:00:00 +0000", b"Message-ID: <a@b>", b"Bcc: x"),
        *(
            b"Received: from a by b",
            b"References: ",
            b"\r\n",
            b"\r\n\r\n",
            b"\n",
            b" ",
            b"=?utf-8?Q?=C3=A4?=",
            b"=?",
            b"?=",
        ),
        *(b"Content-Type: multipart/mixed; boundary=b", b"Content-Type: message/rfc822", b"Content-Type: text/html"),
        *(
            b"Content-Transfer-Encoding: base64",
            b"Content-Transfer-Encoding: quoted-printable",
            b"--b",
            b"--b--",
            b"=E4",
        ),
        *(
            b"; charset*0*=utf-8'",
            b'; name="',
            b"<a@b.org>",
            b"(",
            b"\\",
            b'"',
            b",",
            b"<b>",
            b"&amp;",
            b"\xff",
            b"x" * 80,
        ),
    ),
    "sieve": (
        *(
            b'require ["fileinto", "variables", "body", "regex", "foreverypart", "editheader"];',
            b"if ",
            b"elsif ",
            b"else ",
        ),
        *(
            b"header ",
            b":contains ",
            b":matches ",
            b":regex ",
            b'"subject" ',
            b'"*a*" ',
            b'"(a|b)*c" ',
            b"fileinto ",
            b"keep;",
        ),
        *(
            b"allof(",
            b"anyof(",
            b"not ",
            b"true",
            b"{ ",
            b"} ",
            b")",
            b", ",
            b"; ",
            b'set "a" "${a}${a}";',
            b"stop;",
            b"#\n",
        ),
        *(
            b"text:\r\n.\r\n",
            b"discard;",
            b'redirect "a@b.org";',
            b"foreverypart {",
            b'addheader "X" "y";',
            b"/*",
            b"[",
            b"]",
        ),
    ),
    "imap": imap.TOKENS,
    "threads": (b"\x00\x00\x01", b"\x01\x01\xff", b"\x02\x01\x7f", b"\x03\x00\x42", b"\x01\x01\x41", b"\x02\x06\xc2"),
}
"""Pieces that inputs are made of where no coverage guides, and the dictionary where it does."""


def _cut(wire: bytes, how: bytes) -> Iterator[bytes]:
    """The wire in pieces whose lengths come from `how`."""
    position = turn = 0
    while position < len(wire):
        length = how[turn % len(how)] or 256
        yield wire[position : position + length]
        position, turn = position + length, turn + 1
