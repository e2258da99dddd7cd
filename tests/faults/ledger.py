"""What was acknowledged to whom: every message of a run has a token of its own, and at the end every mailbox is read.

An acknowledged message must be in its mailbox exactly once and whole; one that was never acknowledged may be there at
most once, since its reply may have been lost. The ledger believes its own entries only: what else lies in a mailbox
with a token that was never offered is as wrong as a loss. It sends nothing and heals nothing.
"""

import hashlib
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from posthorn_testkit.cluster import Reachable

DOMAIN = "ledger.test"
"""Right side of the Message-ID of every message in the ledger."""
_TOKEN = re.compile(rb"(?im)^Message-ID: <([a-z0-9-]+)@ledger\.test>\r$")

_TRACE = re.compile(rb"\AReturn-Path: <[^\r]*>\r\nReceived: [^\r]*(?:\r\n[ \t][^\r]*)*\r\n")


def message(token: str, sender: str, recipient: str, size: int = 600) -> bytes:
    """The message of a token: its body repeats the token and ends with the digest of all that stands before."""
    head = (
        f"From: {sender}\r\nTo: {recipient}\r\nSubject: {token}\r\nMessage-ID: <{token}@{DOMAIN}>\r\n"
        "Date: Tue, 24 Nov 2026 12:00:00 +0000\r\n\r\n"
    )
    line = f"{token} is one of the messages that must not be lost.\r\n"
    text = (head + line * max(1, size // len(line))).encode()
    return text + hashlib.sha256(text).hexdigest().encode() + b"\r\n"


def token_of(content: bytes) -> str | None:
    """The token of a stored or sent message; None when it is not one of the ledger's."""
    found = _TOKEN.search(content)
    return found[1].decode() if found else None


def is_whole(content: bytes) -> bool:
    """Whether a message is as `message` made it, behind any trace fields."""
    start = content.find(b"From: ")
    text, digest = content[start:-66], content[-66:]
    return start >= 0 and digest == hashlib.sha256(text).hexdigest().encode() + b"\r\n"


@dataclass(slots=True)
class Entry:
    """One message; `acknowledged` is the clock's reading at the positive reply, None before."""

    token: str
    account: str
    offers: int = 0
    """How often its content was offered; each may have been taken although no reply came."""
    acknowledged: float | None = None
    node: int | None = None
    """Which node acknowledged it."""
    content: bytes = field(default=b"", repr=False)
    """What was offered."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong, by token; all empty when nothing is."""

    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Found in a mailbox where nobody put them."""

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.repeated or self.damaged or self.unknown)


class Ledger:
    """The entries of one run; safe to write to from many senders at once."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._changed = threading.Condition()
        self._entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def open(self, account: str) -> str:
        """Begin an entry for a message to `account`; returns its token."""
        with self._changed:
            token = f"{self._name}-{len(self._entries) + 1:05}"
            self._entries[token] = Entry(token, account)
            return token

    def offer(self, token: str, content: bytes = b"") -> None:
        """The content is about to be sent: from here on it may be stored."""
        with self._changed:
            self._entries[token].offers += 1
            self._entries[token].content = content

    def acknowledge(self, token: str, node: int) -> None:
        """The server has answered that it has the message."""
        with self._changed:
            entry = self._entries[token]
            entry.acknowledged, entry.node = self._clock(), node
            self._changed.notify_all()

    def acknowledged(self, node: int | None = None) -> list[Entry]:
        """The acknowledged entries, of `node` or of all."""
        with self._changed:
            return [
                entry
                for entry in self._entries.values()
                if entry.acknowledged is not None and node in (None, entry.node)
            ]

    def wait(self, count: int, seconds: float = 120.0) -> None:
        """Wait until `count` messages are acknowledged. Raises AssertionError."""
        with self._changed:
            done = self._changed.wait_for(
                lambda: sum(entry.acknowledged is not None for entry in self._entries.values()) >= count, seconds
            )
        assert done, f"only {len(self.acknowledged())} of {count} messages were acknowledged within {seconds:.0f} s"

    def judge(self, mailboxes: dict[str, list[bytes]]) -> Verdict:
        """Compare with the content of all mailboxes of each account."""
        verdict = Verdict()
        found: Counter[tuple[str, str]] = Counter()
        for account, contents in mailboxes.items():
            for content in contents:
                token = token_of(content)
                entry = self._entries.get(token or "")
                if entry is None or entry.account != account or entry.offers == 0:
                    verdict.unknown.append(token or repr(content[:200]))
                    continue
                found[account, entry.token] += 1
                if not is_whole(content):
                    verdict.damaged.append(entry.token)
        for entry in self._entries.values():
            copies = found[entry.account, entry.token]
            if copies > 1:
                verdict.repeated.append(entry.token)
            if copies == 0 and entry.acknowledged is not None:
                verdict.lost.append(entry.token)
        return verdict

    def compare(self, mailboxes: dict[str, list[bytes]]) -> Verdict:
        """Compare octet for octet, for messages that carry no token of ours.

        Some of them are equal, so copies are counted: at least as many as were acknowledged, at most as many as were
        offered in entries of their own.
        """
        verdict = Verdict()
        offered: defaultdict[tuple[str, bytes], list[Entry]] = defaultdict(list)
        for entry in self._entries.values():
            if entry.offers:
                offered[entry.account, entry.content].append(entry)
        found: Counter[tuple[str, bytes]] = Counter()
        for account, contents in mailboxes.items():
            for content in contents:
                known = next((each for each in (content, _without_trace(content)) if (account, each) in offered), None)
                if known is None:
                    verdict.unknown.append(repr(content[:200]))
                else:
                    found[account, known] += 1
        for key, equal in offered.items():
            tokens = [entry.token for entry in equal]
            acknowledged = sum(entry.acknowledged is not None for entry in equal)
            verdict.repeated.extend(tokens[: max(0, found[key] - len(equal))])
            verdict.lost.extend(tokens[: max(0, acknowledged - found[key])])
        return verdict

    def verify(self, cluster: Reachable, passwords: dict[str, str], nodes: Iterable[int] = (1,)) -> None:
        """Read every mailbox over IMAP, on each of the nodes, and judge. Raises AssertionError with what is wrong."""
        with self._changed:
            accounts = sorted({entry.account for entry in self._entries.values()})
        for node in nodes:
            verdict = self.judge({name: read_all(cluster, (name, passwords[name]), node) for name in accounts})
            assert verdict.is_clean, f"as node {node} shows it: {verdict}"


def _without_trace(content: bytes) -> bytes:
    """Without the Return-Path and the one Received field that final delivery writes (RFC 5321 4.4)."""
    return _TRACE.sub(b"", content, count=1)


def read_all(cluster: Reachable, account: tuple[str, str], node: int) -> list[bytes]:
    """The content of every message in every mailbox of an account."""
    client = cluster.imap(account, node)
    try:
        found: list[bytes] = []
        for row in client.list()[1]:
            assert isinstance(row, bytes)
            name = row.rpartition(b' "/" ')[2].decode()
            status, counted = client.select(name, readonly=True)
            assert status == "OK", counted
            if int(counted[0] or b"0"):
                found += [part[1] for part in client.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(part, tuple)]
        return found
    finally:
        client.shutdown()
