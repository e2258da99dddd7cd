"""THREAD and UID THREAD (RFC 5256)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from posthorn_imap.message_limit import check_search
from posthorn_imap.message_order import MAX_TEXT, MEMORY, read_facts, worked_on
from posthorn_imap.protocol.commands import Thread
from posthorn_imap.protocol.responses import Answer, no, ok, untagged
from posthorn_imap.protocol.search_keys import uses_modseq
from posthorn_imap.protocol.thread_references import TooEntangled, by_references
from posthorn_imap.protocol.threads import Forest, ThreadFacts, ordered_subject, write_threads
from posthorn_imap.search_plan import matching
from posthorn_mail_format.collation import casemap
from posthorn_mail_format.references import NamedIds, listed_ids, named_ids
from posthorn_mail_format.subject import is_reply_or_forward
from posthorn_storage.mail import SortFacts, SortFields

if TYPE_CHECKING:
    from posthorn_imap.session import Session

PAGE = 500
"""Messages whose header fields are in memory at once: some KiB of each, 32 at the most."""
_NOBODY = NamedIds(None, ())


async def thread(session: "Session", command: Thread) -> Answer:
    selection = session.selected
    if uses_modseq(command.key):
        session.enable_condstore()
    check_search(session, selection, command.key)
    uids = await matching(session, selection, command.key)
    by_name = command.algorithm == b"REFERENCES"
    fields = SortFields.SUBJECT | (SortFields.REFERENCES if by_name else SortFields.NONE)
    async with session.parts.body_memory.held(4 * MEMORY * len(uids)):
        known: list[ThreadFacts] = []
        for start in range(0, len(uids), PAGE):
            page = await read_facts(session, selection, uids[start : start + PAGE], fields)
            known += await worked_on(len(page), _facts, page)
        try:
            forest = await worked_on(len(known), by_references if by_name else ordered_subject, known)
        except TooEntangled:
            return no("These messages name too many others", b"LIMIT")
        numbers = {} if command.uid else dict(zip(uids, selection.view.numbers(uids), strict=True))

        def written(threads: Forest) -> bytes:
            return write_threads(threads, lambda uid: numbers.get(uid, uid))

        text = await worked_on(len(known), written, forest)
    session.write(untagged(b"THREAD", *([text] if text else [])))
    return ok("THREAD completed")


def _facts(page: Sequence[SortFacts]) -> list[ThreadFacts]:
    return [
        ThreadFacts(
            facts.uid,
            facts.sent_at.timestamp(),
            casemap((facts.base_subject or "")[:MAX_TEXT]),
            is_reply_or_forward(facts.subject or ""),
            *_ids(facts),
        )
        for facts in page
    ]


def _ids(facts: SortFacts) -> tuple[str | None, tuple[str, ...]]:
    found = _NOBODY
    if facts.listing is not None:
        found = listed_ids(facts.listing)
    elif facts.headers:
        found = named_ids(facts.headers)
    return found.own, found.references
