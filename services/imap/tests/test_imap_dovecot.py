"""SEARCH, SORT and THREAD over the corpus and messages of our own, answered as Dovecot does, or not for a reason.

SEARCH over all of it, those read otherwise too, is answered as Dovecot or as Cyrus does; so is THREAD, but for the
places of those messages themselves.
"""

import asyncio
import imaplib
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from posthorn_testkit.cyrus import answer, running_cyrus
from posthorn_testkit.dovecot import RECEIVED, answers

pytestmark = pytest.mark.postgres


def letter(number: int, *fields: str) -> bytes:
    return "\r\n".join([*fields, f"Message-ID: <own{number}@x>", "", "text", ""]).encode()


OWN = [
    letter(number, *fields)
    for number, fields in enumerate(
        [
            ("Subject: Lunch", "From: Ann <ann@example.org>", "Date: Fri, 1 Mar 2024 10:00:00 +0200"),
            ("Subject: Re: [list] LUNCH (fwd)", "From: bob@example.org", "References: <own0@x>"),
            ("Subject: [Fwd: lunch]", "From: <zoe@example.org>", "Date: Fri, 1 Mar 2024 10:00:00 EST"),
            ("Subject: [a] [b]", "To: Group: a@b.c, d@e.f;"),
            ("Subject: re : x", 'To: "Q, T" <q@b.c>', "Date: 1 Mar 24 10:00"),
            ("Subject: =?utf-8?q?=C3=84rger?=", "From: =?utf-8?q?=C3=84nne?= <a@b.c>", "References: <gone@x> <own9@x>"),
            ("Subject: Re: =?iso-8859-1?q?=E4rger?=", "References: <gone@x>", "Cc: x@y.z"),
            ("Subject: fw[x]: lunch", "In-Reply-To: <own0@x> <own3@x>"),
            ("Subject: ", "References: <own8@x>"),
            ("Subject: Re:", "References: <own8@x> <own0@x>"),
            ("Date: Thu, 29 Feb 2024 23:30:00 -0500", "In-Reply-To: Message from joe@example.org of Monday"),
            ("Date: never", "In-Reply-To: Message from joe@example.org of Friday"),
            ("Subject:   many   spaces  ", 'From: "" <A@b.c>'),
            ("Subject: Many Spaces", "From: a.b@c.d (comment)"),
        ]
    )
]
CRITERIA = (b"ARRIVAL", b"DATE", b"SIZE", b"SUBJECT", b"FROM", b"TO", b"CC", b"DISPLAYFROM", b"DISPLAYTO")
SORTS = [*(b"UID SORT (%b) UTF-8 ALL" % key for key in CRITERIA), b"UID SORT (REVERSE SUBJECT REVERSE DATE) UTF-8 ALL"]
THREADS = [b"UID THREAD REFERENCES UTF-8 ALL", b"UID THREAD ORDEREDSUBJECT UTF-8 ALL"]
SEARCHES = [
    b"UID SEARCH " + keys
    for keys in (
        *(b"SUBJECT re", b"FROM example", b"TO b", b"CC y.z", b"TEXT lunch", b'HEADER Subject ""'),
        *(b"BODY text 1:14", b"NOT BODY text 1:14"),  # of HTML the readable text is searched here, the markup there
        *(b"SENTON 1-Mar-2024", b"SENTSINCE 1-Mar-2024", b"SENTBEFORE 1-Mar-2024", b"ON 14-Nov-2023"),
        *(b"SINCE 15-Nov-2023", b"LARGER 5000", b"SMALLER 500", b"OR FROM ann SUBJECT lunch", b"NOT TEXT lunch"),
        *(b"HEADER Message-ID own", b"HEADER X-Mailer a", b"BCC a", b'CHARSET UTF-8 SUBJECT "\xc3\xa4rger"'),
    )
]


def filled(client: imaplib.IMAP4, messages: list[bytes]) -> list[bytes]:
    """Append messages, which came a minute apart; those that were not taken."""
    refused = []
    for number, octets in enumerate(messages):
        received = datetime.fromtimestamp(RECEIVED + 60 * number, UTC).strftime('"%d-%b-%Y %H:%M:%S +0000"').encode()
        client.send(b"a APPEND INBOX " + received + b" {%d+}\r\n" % len(octets) + octets + b"\r\n")
        if not client.readline().startswith(b"a OK"):
            refused.append(octets)
    return refused


def own_answers(host: str, port: int, messages: list[bytes], commands: list[bytes]) -> list[bytes]:
    found = []
    with imaplib.IMAP4(host, port, timeout=30) as client:
        client.login("ann@example.org", "secret")
        assert filled(client, messages) == []
        client.send(b"s SELECT INBOX\r\n")
        while not client.readline().startswith(b"s OK"):
            pass
        for command in commands:
            client.send(b"b " + command + b"\r\n")
            lines = []
            while not (line := client.readline()).startswith(b"b "):
                lines.append(line)
            assert line.startswith(b"b OK"), (command, line)
            found.append(b"".join(lines))
    return found


DIFFERENT = {
    "mail-parser/legacy_001": "UTF-7 is decoded here",
    "mail-parser/legacy_005": "UTF-7 is decoded here",
    "mail-parser/malformed_019": "of two Date fields the last counts here (RFC 8621 4.1.3), there the first",
    "mail-parser/rfc_001": "an address without a host is given one there (MISSING_DOMAIN)",
    "mikel-mail/error_emails_bad_encoded_subject": "a word in an unknown charset is decoded here, not there",
    "mikel-mail/error_emails_weird_to_header": "an address in an odd place of To is read differently",
    "mikel-mail/mime_emails_raw_email_with_binary_encoded": "of two Subject fields the last counts here",
    "mikel-mail/mime_emails_raw_email_with_multipart_mixed_quoted_boundary": "the same",
    "mikel-mail/plain_emails_mix_caps_content_type": "an address without brackets after words is read differently",
    "mikel-mail/plain_emails_raw_email_multiple_from": "two addresses without a comma are read differently",
    "mikel-mail/plain_emails_raw_email_bad_time": "Dovecot has no dates after 2106",
    "mikel-mail/plain_emails_raw_email_incorrect_header": "the header ends here at a line that is no field",
    "mikel-mail/rfc2822_example04": "Dovecot has no dates before 1970",
    "mikel-mail/rfc2822_example10": "Dovecot has no dates before 1970",
    "mikel-mail/rfc2822_example11": "the empty address in To is kept there",
    "mikel-mail/rfc2822_example13": "the header ends here at a line that is no field",
}
"""Messages left out, by the reason why they are sorted or found elsewhere than by Dovecot."""


def alike(name: str, octets: bytes) -> bool:
    """Whether both servers should read a message alike: 8-bit octets in a header are decoded by guess here."""
    header = octets.partition(b"\r\n\r\n")[0]
    return bool(octets) and header.isascii() and not any(name == f"messages/{each}.eml" for each in DIFFERENT)


async def test_searches_sorts_and_threads_are_those_of_dovecot(imap: Any, corpus_messages: dict[str, bytes]) -> None:
    assert all(f"messages/{name}.eml" in corpus_messages for name in DIFFERENT)
    messages = [*OWN, *(octets for name, octets in corpus_messages.items() if alike(name, octets))]
    commands = [*SEARCHES, *SORTS, *THREADS]
    theirs = await asyncio.to_thread(answers, messages, commands)
    ours = await asyncio.to_thread(own_answers, *imap.address(), messages, commands)
    for command, one, other in zip(commands, ours, theirs, strict=True):
        assert one.split() == other.split(), command


FAR_AWAY = "messages/mikel-mail/plain_emails_raw_email_bad_time.eml"


def cyrus_answers(messages: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The messages it takes, and what it says of them to each of the searches, and how they are threaded."""
    with running_cyrus() as client:
        refused = filled(client, messages)
    taken = [each for each in messages if each not in refused]
    with running_cyrus() as client:
        assert filled(client, taken) == []
        client.select("INBOX")
        return taken, [answer(client, command) for command in [*SEARCHES, *THREADS]]


def found_by(line: bytes) -> set[int]:
    return {int(each) for each in re.findall(rb"\d+", line.partition(b"SEARCH")[2])}


Thread = tuple[bytes, frozenset[int]]
"""As it is written, and its messages."""


def threads(line: bytes) -> dict[int, Thread]:
    """The thread of each message."""
    found: dict[int, Thread] = {}
    depth = start = 0
    text = line.partition(b"THREAD ")[2]
    for at, octet in enumerate(text):
        depth += {0x28: 1, 0x29: -1}.get(octet, 0)
        if depth == 1 and text[at : at + 1] == b"(":
            start = at
        elif depth == 0 and octet == 0x29:
            written = text[start : at + 1]
            members = frozenset(int(each) for each in re.findall(rb"\d+", written))
            found |= dict.fromkeys(members, (written, members))
    return found


def same_thread(own: Thread, other: Thread, otherwise: set[int]) -> bool:
    """Whether they are equal as written; where messages that are read otherwise are in them, whether the rest is."""
    if (own[1] | other[1]) & otherwise:
        return own[1] - otherwise == other[1] - otherwise
    return own[0] == other[0]


async def test_searches_and_threads_of_the_whole_corpus_are_those_of_dovecot_or_cyrus(
    imap: Any, corpus_messages: dict[str, bytes]
) -> None:
    messages = [*OWN, *corpus_messages.values()]
    taken, cyrus = await asyncio.to_thread(cyrus_answers, messages)
    assert len(messages) - len(taken) < 10, "Cyrus takes no NUL, and no line in a header that is no field"
    commands = [*SEARCHES, *THREADS]
    dovecot = await asyncio.to_thread(answers, taken, commands)
    ours = await asyncio.to_thread(own_answers, *imap.address(), taken, commands)
    # A date after 2106, which neither of them has.
    (late,) = [number for number, octets in enumerate(taken, 1) if octets == corpus_messages[FAR_AWAY]]
    read_alike = {*OWN, *(octets for name, octets in corpus_messages.items() if alike(name, octets))}
    otherwise = {number for number, octets in enumerate(taken, 1) if octets not in read_alike}
    for command, *lines in zip(commands, ours, dovecot, cyrus, strict=True):
        if command in THREADS:
            trees, *others = map(threads, lines)
            assert trees.keys() == set(range(1, len(taken) + 1))
            for number in trees.keys() - otherwise:
                found = [each[number] for each in others]
                assert any(same_thread(trees[number], each, otherwise) for each in found), (trees[number], found)
            continue
        own, first, second = map(found_by, lines)
        odd = (own ^ first) & (own ^ second)
        assert odd <= ({late} if b" SENT" in command else set()), command
