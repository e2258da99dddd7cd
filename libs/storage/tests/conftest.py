"""Fixtures of the mail and groupware stores' tests: messages made by hand, and the sums that must always be right."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from posthorn_model.events import Changed
from posthorn_model.flags import Flags, SystemFlag
from posthorn_model.ids import AccountId, BlobKey, MailboxId
from posthorn_model.mail import MessageSummary, NewMessage, PreparedBlob
from posthorn_storage import Storage
from posthorn_storage.mail import MailStore

MakeMessage = Callable[..., NewMessage]


@pytest.fixture
def mail(storage: Storage) -> MailStore:
    """The mail store of the test's database."""
    return storage.mail


@pytest.fixture
def new_message() -> MakeMessage:
    """`new_message(account, mailbox, ..., subject=..., text=...)`: a message with a small inline blob."""

    def make(
        account: int,
        *mailboxes: int,
        subject: str = "Hello",
        message_id: str | None = None,
        references: tuple[str, ...] = (),
        text: str = "some words",
        from_: str = "Bob <bob@example.net>",
        to: str = "Ann <ann@example.org>",
        size: int = 1000,
        flags: SystemFlag = SystemFlag.NONE,
        keywords: frozenset[str] = frozenset(),
        sent_at: datetime | None = None,
        has_attachment: bool = False,
        delivery_id: UUID | None = None,
        received_at: datetime | None = None,
        dedupe: bytes | None = None,
        delivered: bool = False,
    ) -> NewMessage:
        content = f"{subject}|{message_id}|{references}|{text}".encode("utf-8", "replace")
        base = subject.removeprefix("Re: ")
        headers = f"From: {from_}\r\nTo: {to}\r\nSubject: {subject}\r\n"
        listing = {"from": [_address(from_)], "to": [_address(to)]}
        summary = MessageSummary(
            size=size,
            message_id=message_id,
            in_reply_to=references[-1:],
            references=references,
            subject=subject,
            base_subject=base,
            sent_at=sent_at,
            preview=text[:256],
            has_attachment=has_attachment,
            envelope=b'("envelope")',
            body_structure=b'("text" "plain")',
            body=b'("text")',
            structure=b"{}",
            listing=_json(listing),
            headers=headers.encode("utf-8", "replace"),
            search_text=text,
        )
        blob = PreparedBlob(BlobKey(hashlib.sha256(content).digest()), len(content), content, 0)
        return NewMessage(
            AccountId(account),
            [MailboxId(mailbox) for mailbox in mailboxes],
            summary,
            blob,
            Flags(flags, keywords),
            received_at or datetime(2026, 1, 1, tzinfo=UTC),
            delivery_id,
            dedupe,
            delivered,
        )

    return make


@pytest.fixture
def heard(storage: Storage) -> Iterator[list[Changed]]:
    """What the store told after its commits."""
    events: list[Changed] = []
    storage.on_change = events.append
    yield events
    storage.on_change = None


SUMS = {
    "counts of mailboxes": """
        SELECT m.id, m.total, m.unseen, m.deleted, m.size, m.uidnext, c.*
        FROM mailbox m CROSS JOIN LATERAL (
            SELECT count(*) AS n, count(*) FILTER (WHERE flags & 1 = 0) AS u,
                   count(*) FILTER (WHERE flags & 8 <> 0) AS d,
                   coalesce(sum(size), 0) AS s, coalesce(max(uid), 0) AS top, coalesce(max(modseq), 0) AS latest
            FROM mailbox_message b WHERE b.account_id = m.account_id AND b.mailbox_id = m.id) AS c
        WHERE (m.total, m.unseen, m.deleted, m.size) <> (c.n, c.u, c.d, c.s)
           OR m.uidnext <= c.top OR m.modseq < c.latest
    """,
    "counters of accounts": """
        SELECT c.account_id, c.used_bytes, c.used_messages, s.* FROM account_counter c CROSS JOIN LATERAL (
            SELECT (SELECT coalesce(sum(size), 0) FROM message m WHERE m.account_id = c.account_id)
                   + (SELECT coalesce(sum(octet_length(content)), 0) FROM item i WHERE i.account_id = c.account_id)
                   AS bytes,
                   (SELECT count(*) FROM message m WHERE m.account_id = c.account_id) AS messages) AS s
        WHERE (c.used_bytes, c.used_messages) <> (s.bytes, s.messages)
    """,
    "modseqs ahead of their account": """
        SELECT account_id FROM account_counter c
        WHERE modseq < (SELECT max(modseq) FROM change_log l WHERE l.account_id = c.account_id)
           OR modseq < (SELECT max(modseq) FROM mailbox m WHERE m.account_id = c.account_id)
    """,
    "messages in no mailbox": """
        SELECT id FROM message m WHERE NOT EXISTS (
            SELECT FROM mailbox_message b WHERE b.account_id = m.account_id AND b.message_id = m.id)
    """,
    "entries without a message": """
        SELECT b.* FROM mailbox_message b LEFT JOIN message m ON m.account_id = b.account_id AND m.id = b.message_id
        WHERE m.id IS NULL OR m.size <> b.size
    """,
    "search texts": """
        SELECT m.id, t.message_id FROM message m FULL JOIN message_text t
            ON m.account_id = t.account_id AND m.id = t.message_id
        WHERE m.id IS NULL OR t.message_id IS NULL
    """,
    "references of blobs": """
        SELECT m.id, r.ref_id FROM message m FULL JOIN (SELECT * FROM blob_ref WHERE kind = 1) r
            ON m.account_id = r.account_id AND m.id = r.ref_id AND m.blob_key = r.blob_key
        WHERE m.id IS NULL OR r.ref_id IS NULL
    """,
    "keys of threads that are gone": """
        SELECT k.* FROM thread_key k WHERE NOT EXISTS (
            SELECT FROM message m WHERE m.account_id = k.account_id AND m.thread_id = k.thread_id)
    """,
}


@pytest.fixture
def check_sums(storage: Storage) -> Callable[[], Awaitable[None]]:
    """`await check_sums()`: counters equal rows, and no row has lost its counterpart."""

    async def check() -> None:
        for name, query in SUMS.items():
            assert [dict(row) for row in await storage._database.fetch(query)] == [], name

    return check


def _address(text: str) -> dict[str, Any]:
    name, _, email = text.rpartition(" <")
    return {"name": name or None, "email": email.rstrip(">")}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
