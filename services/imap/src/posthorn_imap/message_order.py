"""Messages of a mailbox put in order: what they are sorted or threaded by is read in pages from stored columns.

The long part of the work is done in a thread, page by page, so that no other session waits for it.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from posthorn_imap.protocol.sort_keys import Criterion, SortKey, Value, merged, packed
from posthorn_imap.selection import Selection
from posthorn_mail_format.collation import casemap
from posthorn_mail_format.envelope_reading import FirstAddress, first_addresses
from posthorn_storage.mail import SortFacts, SortFields

if TYPE_CHECKING:
    from posthorn_imap.session import Session

Given = TypeVar("Given")
Made = TypeVar("Made")

PAGE = 1000
"""Messages read from the store at once."""
AT_ONCE = 200
"""So few are worked on in place."""
MEMORY = 256
"""Octets that one message takes while it is put in order."""
MAX_TEXT = 512
"""Characters of a text that are looked at."""

_ADDRESSES = (SortKey.FROM, SortKey.TO, SortKey.CC, SortKey.DISPLAYFROM, SortKey.DISPLAYTO)
_FIELDS = {SortKey.SUBJECT: SortFields.SUBJECT, **dict.fromkeys(_ADDRESSES, SortFields.ENVELOPE)}
_PLACE = {SortKey.FROM: 0, SortKey.DISPLAYFROM: 0, SortKey.TO: 1, SortKey.DISPLAYTO: 1, SortKey.CC: 2}
_DISPLAYED = frozenset({SortKey.DISPLAYFROM, SortKey.DISPLAYTO})


async def in_order(
    session: "Session", selection: Selection, uids: Sequence[int], criteria: Sequence[Criterion]
) -> list[int]:
    """The UIDs sorted by the criteria, then by UID; messages that are gone by now are left out."""
    fields = SortFields.NONE
    for criterion in criteria:
        fields |= _FIELDS.get(criterion.key, SortFields.NONE)

    def keys(page: Iterable[SortFacts]) -> list[str]:
        return sorted(packed(facts.uid, _values(facts, criteria), criteria) for facts in page)

    async with session.parts.body_memory.held(MEMORY * len(uids)):
        pages = []
        for start in range(0, len(uids), PAGE):
            facts = await read_facts(session, selection, uids[start : start + PAGE], fields)
            pages.append(await worked_on(len(facts), keys, facts))
        return await worked_on(len(uids), merged, pages)


async def read_facts(
    session: "Session", selection: Selection, uids: Sequence[int], fields: SortFields
) -> list[SortFacts]:
    feed = selection.feed
    return await session.parts.storage.mail.sort_facts(*feed.place, uids, fields)


async def worked_on(messages: int, work: Callable[[Given], Made], given: Given) -> Made:
    """`work(given)`, in a thread where so many messages take long."""
    return await asyncio.to_thread(work, given) if messages > AT_ONCE else work(given)


def _values(facts: SortFacts, criteria: Sequence[Criterion]) -> list[Value]:
    """A value for each of the criteria."""
    firsts = first_addresses(facts.envelope) if facts.envelope is not None else (None, None, None)
    return [_value(facts, criterion.key, firsts) for criterion in criteria]


def _value(facts: SortFacts, key: SortKey, firsts: Sequence[FirstAddress | None]) -> Value:
    match key:
        case SortKey.ARRIVAL:
            return facts.received_at
        case SortKey.DATE:
            return facts.sent_at
        case SortKey.SIZE:
            return facts.size
        case SortKey.SUBJECT:
            return casemap((facts.base_subject or "")[:MAX_TEXT])
    first = firsts[_PLACE[key]]
    if first is None:
        return b""
    if key in _DISPLAYED:
        return casemap(first.display[:MAX_TEXT])
    return casemap((first.mailbox or b"")[:MAX_TEXT].decode("utf-8", "replace"))
