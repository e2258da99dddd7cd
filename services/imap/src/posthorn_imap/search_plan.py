"""How SEARCH is answered: from the mailbox's view alone where that knows enough, else by one query of the store.

Header fields that the store does not keep are looked up in the messages themselves, and only for messages that match
all else.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from posthorn_imap.protocol.search_keys import (
    Aged,
    All,
    And,
    ChangedSince,
    Contains,
    Dated,
    Flagged,
    HasKeyword,
    HeaderContains,
    Identified,
    Key,
    Not,
    Numbered,
    Or,
    Recent,
    Saved,
    Sized,
    When,
    Where,
    children,
    demanded,
)
from posthorn_imap.selection import Selection
from posthorn_mail_format.headers import decode_text, iterate
from posthorn_mail_format.part import Part
from posthorn_model.errors import BlobNotFound
from posthorn_model.flags import Flags
from posthorn_model.ids import MessageId, Modseq, ThreadId
from posthorn_storage.blobs.store import Blobs
from posthorn_storage.mail import MessageFields, PlacedMessage, search
from posthorn_storage.mail.search_sql import KEPT_FIELDS

if TYPE_CHECKING:
    from posthorn_imap.session import Session

Test = Callable[[int], bool]
HEADER_BATCH = 64
_FIELDS = {
    Where.FROM: search.TextField.FROM,
    Where.TO: search.TextField.TO,
    Where.CC: search.TextField.CC,
    Where.BCC: search.TextField.BCC,
    Where.SUBJECT: search.TextField.SUBJECT,
    Where.BODY: search.TextField.BODY,
    Where.TEXT: search.TextField.EVERYWHERE,
}
_NOTHING = search.Not(search.Everything())


async def matching(session: "Session", selection: Selection, key: Key) -> list[int]:
    """UIDs of the messages that match and that the client numbers, ascending. Raises SyntaxProblem, TooMany."""
    local = _local(selection, key)
    if local is not None:
        return [uid for uid in selection.view.uids if local(uid) and uid in selection.feed.entries]
    found = await _ask(session, selection, _condition(session, selection, key, {}))
    unkept = {each for each in _all_keys(key) if _is_unkept(each)}
    if unkept:
        held = await _look_into_headers(session, selection, found, unkept)
        found = await _ask(session, selection, _condition(session, selection, key, held))
    return [uid for uid in found if selection.view.number(uid) and not selection.view.gone(uid)]


def looked_at(selection: Selection, key: Key) -> Sequence[int]:
    """UIDs of the messages that a search must look at: all, or those that the sets it demands leave; ascending.

    Raises SyntaxProblem.
    """
    sets = [each for each in demanded(key) if isinstance(each, Numbered)]
    if not sets:
        return selection.view.uids
    named = [{uid for _, uid in selection.chosen(each.numbers, uid=each.uid)} for each in sets]
    return sorted(set.intersection(*named))


async def _ask(session: "Session", selection: Selection, where: search.Condition) -> list[int]:
    account, mailbox = selection.feed.place
    result = await session.parts.storage.mail.search(account, search.SearchQuery(where, mailbox=mailbox))
    return [int(uid) for uid in result.uids]


# From the view alone


def _local(selection: Selection, key: Key) -> Test | None:
    """A test that needs no store, if there is one."""
    match key:
        case All():
            return lambda _uid: True
        case Flagged(flag):
            return lambda uid: bool(selection.flags(uid).system & flag)
        case HasKeyword(keyword):
            return lambda uid: keyword in selection.flags(uid).keywords
        case Recent():
            return selection.recent
        case ChangedSince(modseq):
            return lambda uid: selection.modseq(uid) >= modseq
        case Numbered(numbers, by_uid):
            named = {uid for _, uid in selection.chosen(numbers, uid=by_uid)}
            return named.__contains__
        case And() | Or() | Not():
            return _combined(key, [_local(selection, inner) for inner in children(key)])
    return None


def _combined(key: And | Or | Not, inner: list[Test | None]) -> Test | None:
    tests = [test for test in inner if test is not None]
    if len(tests) < len(inner):
        return None
    if isinstance(key, Not):
        return lambda uid: not tests[0](uid)
    if isinstance(key, And):
        return lambda uid: all(test(uid) for test in tests)
    return lambda uid: any(test(uid) for test in tests)


# By the store


def _condition(
    session: "Session", selection: Selection, key: Key, held: Mapping[HeaderContains, tuple[MessageId, ...]]
) -> search.Condition:
    """The store's words for a key; `held` are the messages found for header fields that the store does not keep."""

    def translated(inner: Key) -> search.Condition:
        return _condition(session, selection, inner, held)

    match key:
        case All():
            return search.Everything()
        case And(keys):
            return search.And(tuple(map(translated, keys)))
        case Or(one, other):
            return search.Or((translated(one), translated(other)))
        case Not(inner):
            return search.Not(translated(inner))
        case Flagged(flag):
            return search.HasFlags(Flags(flag))
        case HasKeyword(keyword):
            return search.HasFlags(Flags(keywords=frozenset({keyword})))
        case Recent():
            return search.Uids(((selection.recent_from, 2**32),))
        case ChangedSince(modseq):
            return search.ModseqFrom(Modseq(modseq))
        case Numbered(numbers, by_uid):
            entries = selection.feed.entries
            chosen = selection.chosen(numbers, uid=by_uid)
            return search.MessageIds(tuple(entries[uid].message for _, uid in chosen if uid in entries))
        case HeaderContains() if key in held:
            return search.MessageIds(held[key])
    return _stored_condition(session, key)


def _stored_condition(session: "Session", key: Key) -> search.Condition:
    match key:
        case Contains(where, text):
            return search.Contains(_FIELDS[where], text)
        case HeaderContains(name, text):
            return search.Header(name, text)
        case Dated(when, day, sent):
            return _sent(when, day) if sent else search.Received(*_bounds(when, day))
        case Saved(when, day):
            return search.Saved(*_bounds(when, day))
        case Sized(octets, larger):
            return search.Size(larger=octets) if larger else search.Size(smaller=octets)
        case Aged(seconds, younger):
            edge = datetime.fromtimestamp(max(0.0, session.parts.clock.time() - seconds), UTC)
            return search.Received(since=edge) if younger else search.Received(before=edge)
        case Identified(text, thread):
            return _identified(text, thread=thread)
    raise AssertionError(key)


def _bounds(when: When, day: date) -> tuple[datetime | None, datetime | None]:
    """The day's instants in UTC, as INTERNALDATE is told."""
    start = datetime.combine(day, time(), UTC)
    end = start + timedelta(days=1) if day < date.max else None
    return {When.SINCE: (start, None), When.BEFORE: (None, start), When.ON: (start, end)}[when]


def _sent(when: When, day: date) -> search.Condition:
    """By the day that the message names, in whatever zone."""
    match when:
        case When.SINCE:
            return search.SentOn(since=day)
        case When.BEFORE:
            return search.SentOn(before=day)
    return search.SentOn(day, day + timedelta(days=1) if day < date.max else None)


def _identified(text: str, *, thread: bool) -> search.Condition:
    digits = text[1:]
    if text[:1] != ("T" if thread else "E") or not digits.isdigit() or len(digits) > 18:
        return _NOTHING
    return search.InThread(ThreadId(int(digits))) if thread else search.MessageIds((MessageId(int(digits)),))


# In the messages


def _all_keys(key: Key) -> list[Key]:
    return [key, *(each for inner in children(key) for each in _all_keys(inner))]


def _is_unkept(key: Key) -> bool:
    return isinstance(key, HeaderContains) and key.name.lower() not in KEPT_FIELDS


async def _look_into_headers(
    session: "Session", selection: Selection, uids: list[int], keys: set[Key]
) -> Mapping[HeaderContains, tuple[MessageId, ...]]:
    """Which of the candidates have the header fields asked for, read from the messages in bounded batches."""
    found: dict[HeaderContains, list[MessageId]] = {key: [] for key in keys if isinstance(key, HeaderContains)}
    mail, feed = session.parts.storage.mail, selection.feed
    blobs = await session.parts.storage.blobs.of(feed.place.account)
    for start in range(0, len(uids), HEADER_BATCH):
        batch = uids[start : start + HEADER_BATCH]
        for row in await mail.messages_by_uid(*feed.place, batch, MessageFields.STRUCTURE):
            header = await _header(blobs, row)
            for key, messages in found.items():
                if _holds(header, key):
                    messages.append(row.message.id)
    return {key: tuple(messages) for key, messages in found.items()}


async def _header(blobs: Blobs, row: PlacedMessage) -> bytes:
    part = Part.load(row.message.structure or b"")
    length = part.body_start - part.header_start
    try:
        return await blobs.read_range(row.message.blob, part.header_start, length)
    except BlobNotFound:
        return b""


def _holds(header: bytes, key: HeaderContains) -> bool:
    name, text = key.name.lower().encode(), key.text.lower()
    return any(
        field.name.lower() == name and (not text or text in decode_text(field.value).lower())
        for field in iterate(header)
    )
