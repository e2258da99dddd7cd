"""Targets of the IMAP service: any command is read or refused, and any messages are threaded, each once."""

import re

from posthorn_imap.protocol.framer import Announced, Command, Fatal, Framer, FramerLimits
from posthorn_imap.protocol.grammar import CommandProblem, read_request
from posthorn_imap.protocol.mailbox_grammar import UnknownUse
from posthorn_imap.protocol.search_keys import UnknownCharset
from posthorn_imap.protocol.thread_references import by_references
from posthorn_imap.protocol.threads import ThreadFacts, ordered_subject, write_threads

_NUMBER = re.compile(rb"\d+")


def commands(data: bytes) -> None:
    """Whole commands become requests, or problems that the session knows."""
    framer = Framer(FramerLimits(line=4096))
    framer.feed(data)
    while (event := framer.next_event()) is not None and not isinstance(event, Fatal):
        if isinstance(event, Announced):
            framer.accept()
        elif isinstance(event, Command):
            try:
                read_request(event.parts)
            except (CommandProblem, UnknownCharset, UnknownUse):
                continue


def threads(data: bytes) -> None:
    """Three octets make a message: its id, its subject, and how many of the ids before it are its references."""
    facts, ids = [], [str(octet % 16) for octet in data[:600:3]]
    for place, name in enumerate(ids):
        subject, count = data[3 * place + 1 : 3 * place + 2], (data[3 * place + 2 : 3 * place + 3] or b"\0")[0]
        named = tuple(ids[max(0, place - count % 8) : place + count % 3])
        base = bytes([subject[0] % 5]) if subject and subject[0] % 5 else b""
        facts.append(ThreadFacts(place + 1, float(count), base, bool(count & 128), name if count & 64 else None, named))
    for made in (by_references(facts), ordered_subject(facts)):
        text = write_threads(made, lambda number: number)
        assert sorted(map(int, _NUMBER.findall(text))) == list(range(1, len(facts) + 1))
        assert text.count(b"(") == text.count(b")")
        assert b"()" not in text


TOKENS = (
    *(b"a SORT ", b"a UID SORT ", b"a THREAD REFERENCES UTF-8 ", b"a UID THREAD ORDEREDSUBJECT UTF-8 ", b"a SEARCH "),
    *(b"RETURN (", b"MIN MAX ALL COUNT SAVE", b"PARTIAL ", b"1:500", b"-1:-100", b"UPDATE", b"CONTEXT", b") ", b"("),
    *(b"REVERSE ", b"ARRIVAL", b"CC ", b"DATE ", b"DISPLAYFROM ", b"SUBJECT ", b"SIZE ", b"UTF-8 ", b"CHARSET KOI8-R "),
    *(
        b"OR ",
        b"NOT ",
        b"ALL",
        b"1:*",
        b"$",
        b"UID 1,2:3",
        b"SINCE 1-Feb-2024",
        b'HEADER X "y"',
        b"MODSEQ 1",
        b"LARGER 1",
    ),
    *(b"a ESEARCH IN (mailboxes (x y) subtree z personal) ", b'a CANCELUPDATE "t"', b"SAVEDSINCE 1-Feb-2024"),
    *(
        b"a FETCH 1 (UID FLAGS BODY.PEEK[1.HEADER.FIELDS (A)]<0.1>)",
        b"{3+}\r\nabc",
        b"{0}\r\n",
        b"\r\n",
        b" ",
        b'"',
        b"\\",
    ),
    *(b"a STORE 1 +FLAGS (\\Seen)", b"a LOGIN a b", b'a LIST "" *', b"a APPEND x {1+}\r\nx", b"\xff", b"\0", b"9" * 21),
)
