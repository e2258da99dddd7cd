"""Room in mailboxes: an estimate at RCPT, from the size that MAIL declares; the delivery's transaction decides."""

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from posthorn_model.errors import OverQuota
from posthorn_model.ids import AccountId
from posthorn_smtp_in.judge import NEVER_FITS, Room, judge_room
from posthorn_smtp_in.protocol.replies import Reply, reply
from posthorn_storage import Storage

Held = tuple[int, int | None]
"""Used bytes, and the limit if there is one."""


async def room_for(
    storage: Storage, accounts: Sequence[AccountId], size: int, known: Mapping[AccountId, Held] = MappingProxyType({})
) -> Room:
    """The room of an address with these accounts: the worst of theirs. Those not `known` are asked for.

    Raises Unavailable, Overloaded.
    """
    held = [known[account] for account in accounts if account in known]
    unknown = [account for account in accounts if account not in known]
    if unknown:
        held += await asyncio.gather(*map(storage.recipients.room, unknown))
    found = [judge_room(used, limit, size) for used, limit in held]
    return next((each for each in (Room.NEVER, Room.FULL) if each in found), Room.FITS)


async def no_room(storage: Storage, error: OverQuota, accounts: Sequence[AccountId], size: int) -> Reply:
    """The reply to content that found no room: final only if that is so for all it is for."""
    if len(set(accounts)) == 1 and await room_for(storage, accounts, size) is Room.NEVER:
        return NEVER_FITS
    return reply(452, "4.2.2", error.public)
