"""FETCH and UID FETCH (RFC 9051 6.4.5, RFC 7162, 9738): streamed in bounded batches, at the pace of the client."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Flag, auto
from typing import TYPE_CHECKING

from posthorn_imap.body_sections import decodable, decoded_size, needed_fields, needs_blob, read_sections
from posthorn_imap.column_rows import as_asked, columns_of, send_columns
from posthorn_imap.commands.select import vanished_since
from posthorn_imap.message_limit import check_partial, last_of, told
from posthorn_imap.protocol.commands import Fetch
from posthorn_imap.protocol.fetch_items import Content, Decoded, DecodedSize, FetchItem, Item, Section
from posthorn_imap.protocol.flag_names import write_flags
from posthorn_imap.protocol.partial import part_of
from posthorn_imap.protocol.responses import Answer, bad, no, ok, untagged
from posthorn_imap.protocol.sets import SAVED
from posthorn_imap.selection import Selection
from posthorn_imap.stored_items import stored
from posthorn_model.errors import BlobNotFound
from posthorn_model.flags import SystemFlag
from posthorn_model.ids import Modseq
from posthorn_storage.blobs.store import Blobs
from posthorn_storage.mail import MessageFields, PlacedMessage

if TYPE_CHECKING:
    from posthorn_imap.session import Session

BATCH = 128
"""Messages read from the store at once."""
GROUP_MESSAGES, GROUP_OCTETS = 64, 1 << 20
"""Contents held at once by one session: so many, or one that is larger."""
SLICE = 65536

_FROM_MEMORY = frozenset({Item.UID, Item.FLAGS, Item.MODSEQ})
_FIELDS = {
    Item.ENVELOPE: MessageFields.ENVELOPE,
    Item.BODY: MessageFields.BODY,
    Item.BODYSTRUCTURE: MessageFields.BODY_STRUCTURE,
    Item.PREVIEW: MessageFields.SUMMARY,
}

Contents = dict[Content, bytes | memoryview | None]
Numbered = tuple[int, int]


class Problem(Flag):
    """Why not everything asked for could be told."""

    NONE = 0
    GONE = auto()
    ENCODING = auto()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for of each message."""

    items: tuple[FetchItem, ...]
    sections: tuple[Content, ...]
    decoded: tuple[Decoded | DecodedSize, ...]
    fields: MessageFields
    marks_seen: bool


async def fetch(session: "Session", command: Fetch) -> Answer:
    selection = session.selected
    if command.vanished and not session.qresync:
        return bad("ENABLE QRESYNC first")
    if Item.MODSEQ in command.items or command.changed_since is not None:
        session.enable_condstore()
    chosen = selection.chosen(command.numbers, uid=command.uid)
    if command.partial is not None:
        check_partial(session, command.partial)
        chosen = part_of(chosen, command.partial)
    if command.changed_since is not None:
        since = Modseq(command.changed_since)
        if command.vanished:
            gone = await vanished_since(session, selection, since, command.numbers)
            if gone:
                session.write(untagged(b"VANISHED (EARLIER)", gone))
        chosen = [pair for pair in chosen if selection.modseq(pair[1]) > since]
    chosen, left_out = last_of(session, chosen)
    problems = Problem.GONE if selection.view.names_gone(command.numbers, uid=command.uid) else Problem.NONE
    wanted = _wanted(selection, command)
    if _FROM_MEMORY.issuperset(wanted.items):
        await _send_from_memory(session, selection, wanted, chosen)
    else:
        problems |= await _send_from_store(session, selection, wanted, chosen)
    return told(session, _answer(problems, uid=command.uid), left_out)


def _answer(problems: Problem, *, uid: bool) -> Answer:
    if Problem.ENCODING in problems:
        return no("A part has an encoding that cannot be undone", b"UNKNOWN-CTE")
    if Problem.GONE in problems and not uid:
        return no("Some of the messages are gone", b"EXPUNGEISSUED")
    return ok("FETCH completed")


async def send_new(
    session: "Session", selection: Selection, items: tuple[FetchItem, ...], new: Sequence[Numbered]
) -> None:
    """FETCH responses that no command asked for; they mark nothing \\Seen (RFC 5465 5.2)."""
    wanted = replace(_wanted(selection, Fetch(SAVED, items, uid=True)), marks_seen=False)
    if _FROM_MEMORY.issuperset(wanted.items):
        await _send_from_memory(session, selection, wanted, new)
    else:
        await _send_from_store(session, selection, wanted, new)


def _wanted(selection: Selection, command: Fetch) -> Wanted:
    items = command.items
    if command.uid and Item.UID not in items and not selection.uid_only:
        items = (Item.UID, *items)
    if command.changed_since is not None and Item.MODSEQ not in items:
        items = (*items, Item.MODSEQ)
    sections = tuple(item for item in items if isinstance(item, Section | Decoded))
    decoded = tuple(item for item in items if isinstance(item, Decoded | DecodedSize))
    fields = needed_fields([*sections, *decoded])
    for item in items:
        if isinstance(item, Item):
            fields |= _FIELDS.get(item, MessageFields.NONE)
    marks_seen = selection.marks_seen and any(not section.peek for section in sections)
    return Wanted(items, sections, decoded, fields, marks_seen)


async def _send_from_memory(
    session: "Session", selection: Selection, wanted: Wanted, chosen: Sequence[Numbered]
) -> None:
    """What the view knows needs no store: tens of thousands of messages take milliseconds."""
    for start in range(0, len(chosen), 1000):
        lines = []
        for number, uid in chosen[start : start + 1000]:
            words = [_known(selection, item, uid) for item in wanted.items]
            lines.append(b"%s%s)\r\n" % (selection.fetched(number, uid), b" ".join(words)))
        if Item.FLAGS in wanted.items:
            selection.view.told([uid for _, uid in chosen[start : start + 1000]])
        session.write(b"".join(lines))
        await session.connection.flow()


def _known(selection: Selection, item: FetchItem, uid: int) -> bytes:
    if item is Item.UID:
        return b"UID %d" % uid
    if item is Item.FLAGS:
        return b"FLAGS " + write_flags(selection.flags(uid), recent=selection.recent(uid))
    return b"MODSEQ (%d)" % selection.modseq(uid)


async def _send_from_store(
    session: "Session", selection: Selection, wanted: Wanted, chosen: Sequence[Numbered]
) -> Problem:
    """Send messages; returns what could not be told of them."""
    columns = None if wanted.marks_seen else columns_of(wanted.items)
    if columns is not None:
        chosen = await send_columns(
            session, selection, wanted.items, columns, chosen, lambda item, uid: _known(selection, item, uid)
        )
    problems = Problem.NONE
    for start in range(0, len(chosen), BATCH):
        problems |= await _send_batch(session, selection, wanted, chosen[start : start + BATCH])
    return problems


async def _send_batch(session: "Session", selection: Selection, wanted: Wanted, batch: Sequence[Numbered]) -> Problem:
    """Send some messages; returns what could not be told of them."""
    storage, feed = session.parts.storage, selection.feed
    numbers = {uid: number for number, uid in batch}
    newly_seen: set[int] = set()
    if wanted.marks_seen:
        unseen = [uid for _, uid in batch if not selection.seen(uid)]
        if unseen:
            result = await storage.mail.set_flags(*feed.place, unseen, op="add", system=SystemFlag.SEEN)
            feed.flags_set(result)
            newly_seen = {int(entry.uid) for entry in result.changed}
    rows = as_asked(await storage.mail.messages_by_uid(*feed.place, list(numbers), wanted.fields), batch)
    found, unreadable = 0, False
    blobs = await storage.blobs.of(feed.place.account)
    for group in _groups(rows, wanted.sections):
        async with session.parts.body_memory.held(_memory(group, wanted)):
            if needs_blob(wanted.sections):
                await blobs.warm(row.message.blob for row in group)
            reads = [_contents(blobs, row, wanted.sections) for row in group]
            contents = await asyncio.gather(*reads) if len(reads) > 1 else [await reads[0]]
            for row, content in zip(group, contents, strict=True):
                if content is None:
                    continue
                found += 1
                unreadable |= not all(decodable(row.message, item.part) for item in wanted.decoded)
                flags_too = Item.FLAGS in wanted.items or row.uid in newly_seen
                await _send(session, selection, wanted, numbers[row.uid], row, content, flags_too=flags_too)
                if flags_too:
                    selection.view.told([row.uid])
    gone = Problem.GONE if found < len(batch) else Problem.NONE
    return gone | (Problem.ENCODING if unreadable else Problem.NONE)


def _memory(group: Sequence[PlacedMessage], wanted: Wanted) -> int:
    """Octets that a group takes while it is sent; what is decoded is there a second time."""
    copies = bool(wanted.sections) + bool(wanted.decoded)
    return copies * sum(row.message.size for row in group)


def _groups(rows: Sequence[PlacedMessage], sections: Sequence[Content]) -> Iterator[list[PlacedMessage]]:
    """Rows whose content may be in memory together."""
    group: list[PlacedMessage] = []
    octets = 0
    for row in rows:
        size = row.message.size if sections else 0
        if group and (len(group) >= GROUP_MESSAGES or octets + size > GROUP_OCTETS):
            yield group
            group, octets = [], 0
        group.append(row)
        octets += size
    if group:
        yield group


async def _contents(blobs: Blobs, row: PlacedMessage, sections: Sequence[Content]) -> Contents | None:
    """The sections of a message; None when it was expunged and its blob is gone already."""
    if not sections:
        return {}
    try:
        return await read_sections(blobs, row.message, sections)
    except BlobNotFound:
        return None


async def _send(
    session: "Session",
    selection: Selection,
    wanted: Wanted,
    number: int,
    row: PlacedMessage,
    contents: Contents,
    *,
    flags_too: bool,
) -> None:
    """One FETCH response. Everything it holds is at hand: it is never broken off half-way by the store."""
    connection = session.connection
    session.write(selection.fetched(number, row.uid))
    separator = b""
    for item in wanted.items:
        if isinstance(item, Section | Decoded):
            await _send_section(session, separator + item.name, contents[item], binary=isinstance(item, Decoded))
        elif isinstance(item, DecodedSize):
            session.write(b"%s%s %d" % (separator, item.name, decoded_size(row.message, item.part)))
        elif item in _FROM_MEMORY:
            session.write(separator + _known(selection, item, row.uid))
        else:
            session.write(separator + stored(item, row))
        separator = b" "
    if flags_too and Item.FLAGS not in wanted.items:
        session.write(b" " + _known(selection, Item.FLAGS, row.uid))
        if session.condstore and Item.MODSEQ not in wanted.items:
            session.write(b" " + _known(selection, Item.MODSEQ, row.uid))
    session.write(b")\r\n")
    await connection.flow()


async def _send_section(session: "Session", name: bytes, octets: bytes | memoryview | None, *, binary: bool) -> None:
    """A literal; literal8 where a part without its encoding has NUL (RFC 9051 4.3)."""
    if octets is None:
        session.write(name + b" NIL")
        return
    mark = b"~" if binary and b"\0" in bytes(octets) else b""
    session.write(name + b" %s{%d}\r\n" % (mark, len(octets)))
    for start in range(0, len(octets), SLICE):
        session.write(octets[start : start + SLICE])
        await session.connection.flow()
