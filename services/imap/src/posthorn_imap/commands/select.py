"""SELECT and EXAMINE (RFC 9051 6.3.2 and 6.3.3), with CONDSTORE and QRESYNC (RFC 7162)."""

from dataclasses import replace
from typing import TYPE_CHECKING

from posthorn_imap.access import access_code, permanent_flags, told_keywords
from posthorn_imap.commands.listing import list_response
from posthorn_imap.mailbox_tree import branch_of
from posthorn_imap.places import permitted
from posthorn_imap.protocol.commands import Resync, Select
from posthorn_imap.protocol.cursor import SyntaxProblem
from posthorn_imap.protocol.flag_names import NAMES
from posthorn_imap.protocol.responses import Answer, bad, listed, ok, untagged
from posthorn_imap.protocol.sets import NumberSet, bounded_members, contains, positions_of_uids, write_ranges
from posthorn_imap.selection import Selection
from posthorn_model.errors import CannotCalculateChanges
from posthorn_model.flags import SystemFlag
from posthorn_model.ids import Modseq
from posthorn_model.rights import Right

if TYPE_CHECKING:
    from posthorn_imap.session import Session

_SYSTEM = list(NAMES.values())


async def select(session: "Session", command: Select) -> Answer:
    """Another selected mailbox is left first, also when this fails."""
    if session.selection is not None:
        await session.deselect()
        session.write(ok("Previous mailbox is now closed", b"CLOSED").line())
    if command.resync is not None and not session.qresync:
        return bad("ENABLE QRESYNC first")
    if command.condstore:
        session.enable_condstore()
    branch = await branch_of(session, command.mailbox)
    named = permitted(None if branch is None else branch.find(command.mailbox), Right.READ)
    mail, changes = session.parts.storage.mail, session.parts.changes
    feed = await changes.join(named.place)
    takes = not (command.read_only or session.rev2 or named.shared)
    recent = int(await mail.take_recent(*named.place)) if takes else None
    selection = Selection(
        feed,
        replace(named, name=command.mailbox),
        examined=command.read_only,
        recent_from=recent,
        rev2=session.rev2,
        wake=session.wake,
    )
    selection.uid_only = session.uid_only
    changes.listen(feed, selection)
    session.select(selection)
    _describe(session, selection)
    if branch is not None and session.rev2:
        session.write(list_response(session, branch.tree, named))
    elif not session.uid_only:
        _first_unseen(session, selection)
    if command.resync is not None and command.resync.uidvalidity == feed.mailbox.uidvalidity:
        await _resync(session, selection, command.resync)
    return ok("EXAMINE completed" if command.read_only else "SELECT completed", access_code(selection))


def _describe(session: "Session", selection: Selection) -> None:
    feed = selection.feed
    mailbox = feed.mailbox
    lines = [
        untagged(b"%d EXISTS" % selection.view.total),
        *([] if session.rev2 else [untagged(b"%d RECENT" % selection.recents)]),
        untagged(b"FLAGS", listed([*_SYSTEM, *told_keywords(selection)])),
        permanent_flags(selection),
        ok("UIDs are valid", b"UIDVALIDITY %d" % mailbox.uidvalidity).line(),
        ok("Next UID", b"UIDNEXT %d" % max(mailbox.uidnext, selection.first_new_uid)).line(),
        ok("Highest", b"HIGHESTMODSEQ %d" % feed.highest).line(),
        ok("Id", b"MAILBOXID (M%d)" % mailbox.id).line(),
    ]
    session.write(b"".join(lines))


def _first_unseen(session: "Session", selection: Selection) -> None:
    """RFC 3501 7.1; of no use to anybody, and gone from RFC 9051."""
    entries = selection.feed.entries
    seen: dict[int, bool] = {}
    """Of the few sets of flags there are, by their identities."""
    for number, uid in enumerate(selection.view.uids, 1):
        flags = entries[uid].flags
        known = seen.get(id(flags))
        if known is None:
            known = seen[id(flags)] = SystemFlag.SEEN in flags.system
        if not known:
            session.write(ok("First unseen", b"UNSEEN %d" % number).line())
            break


async def _resync(session: "Session", selection: Selection, resync: Resync) -> None:
    """What became of the messages the client knows: those gone, then those changed (RFC 7162 3.2.5.1)."""
    since = Modseq(resync.modseq)
    gone = await vanished_since(session, selection, since, resync.known, resync.match)
    if gone:
        session.write(untagged(b"VANISHED (EARLIER)", gone))
    for number, uid in enumerate(selection.view.uids, 1):
        if selection.modseq(uid) > since and (resync.known is None or contains(resync.known, uid)):
            session.write(selection.fetch_flags(number, uid, uids=True, modseqs=True))
            await session.connection.flow()


async def vanished_since(
    session: "Session",
    selection: Selection,
    since: Modseq,
    known: NumberSet | None,
    match: tuple[NumberSet, NumberSet] | None = None,
) -> bytes:
    """The set of UIDs among `known` that vanished after `since`, as octets; b"" for none.

    Behind the horizon of the log every UID that is not there is named, from where the client's `match` ends.
    """
    feed = selection.feed
    try:
        gone = await session.parts.storage.mail.expunged(*feed.place, since)
    except CannotCalculateChanges:
        return _not_there(selection, known, _agreed(selection, match))
    # The log is read later than the mailbox was: who is gone only since has a number still, and vanishes with news.
    numbered = selection.view.number
    ranges = [(uid, uid) for uid in gone if not numbered(uid) and (known is None or contains(known, uid))]
    return write_ranges(ranges)


def _agreed(selection: Selection, match: tuple[NumberSet, NumberSet] | None) -> int:
    """The largest UID up to which the client's numbering agrees with ours (RFC 7162 3.2.5.2)."""
    agreed = 0
    if match is None:
        return agreed
    try:
        pairs = zip(bounded_members(match[0], 10_000), bounded_members(match[1], 10_000), strict=False)
        for number, uid in pairs:
            if not 0 < number <= selection.view.total or selection.view.uids[number - 1] != uid:
                break
            agreed = uid
    except SyntaxProblem:
        return 0
    return agreed


def _not_there(selection: Selection, known: NumberSet | None, after: int) -> bytes:
    """The UIDs of `known` that the mailbox does not have, below UIDNEXT."""
    uids = selection.view.uids
    last = max(selection.feed.mailbox.uidnext, selection.first_new_uid) - 1
    missing: list[tuple[int, int]] = []
    for low, high in known.ranges if known is not None else ((1, last),):
        low, high = low or last, high or last
        low, high = max(min(low, high), after + 1), min(max(low, high), last)
        at = low
        for each in positions_of_uids(NumberSet(((low, high),)), uids) if low <= high else ():
            for position in each:
                if uids[position] > at:
                    missing.append((at, uids[position] - 1))
                at = uids[position] + 1
        if at <= high:
            missing.append((at, high))
    return write_ranges(missing)
