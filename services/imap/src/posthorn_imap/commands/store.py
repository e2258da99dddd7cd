"""STORE and UID STORE (RFC 9051 6.4.6, RFC 7162 3.1.3, RFC 9738)."""

from typing import TYPE_CHECKING

from posthorn_imap.access import flags_scope
from posthorn_imap.message_limit import last_of, told
from posthorn_imap.protocol.commands import Store
from posthorn_imap.protocol.responses import Answer, no, ok
from posthorn_imap.protocol.sets import write_set
from posthorn_imap.selection import Selection
from posthorn_model.ids import Modseq
from posthorn_model.rights import Right
from posthorn_storage.mail import FlagsScope

if TYPE_CHECKING:
    from posthorn_imap.session import Session


def judge(selection: Selection, command: Store, within: FlagsScope) -> None:
    """Of the flags named one at least must be the session's to change; others are left alone without a word
    (RFC 4314 4). To replace flags by none takes the right to any. Raises MissingRight.
    """
    flags = command.flags
    named = bool(flags.system or flags.keywords)
    mine = bool(flags.system & within.system or (flags.keywords and within.keywords))
    if not (mine if named else within.system):
        selection.permit(Right.SEEN | Right.WRITE | Right.DELETE_MESSAGES)


async def store(session: "Session", command: Store) -> Answer:
    selection = session.selected
    if command.unchanged_since is not None:
        session.enable_condstore()
    chosen = selection.chosen(command.numbers, uid=command.uid)
    within = flags_scope(selection.held)
    judge(selection, command, within)
    if selection.examined:
        return no("The mailbox is selected read-only")
    chosen, left_out = last_of(session, chosen)
    feed = selection.feed
    numbers = {uid: number for number, uid in chosen}
    since = command.unchanged_since
    result = await session.parts.storage.mail.set_flags(
        *feed.place,
        list(numbers),
        op=command.op,
        system=command.flags.system,
        keywords=command.flags.keywords,
        unchanged_since=None if since is None else Modseq(since),
        within=within,
    )
    feed.flags_set(result)
    modified = set(result.modified)
    changed = {int(entry.uid) for entry in result.changed}
    known = []
    for uid, number in numbers.items():
        if uid in modified or uid not in feed.entries or selection.modseq(uid) > result.modseq:
            continue
        known.append(uid)
        if not command.silent or (session.condstore and uid in changed):
            session.write(
                selection.fetch_flags(
                    number,
                    uid,
                    uids=command.uid or session.qresync,
                    modseqs=session.condstore,
                    flags=not command.silent,
                )
            )
            await session.connection.flow()
    selection.view.told(known)
    if result.modified:
        # What stands in the way is told with the answer: the client could not learn of it otherwise before the event.
        await feed.refresh()
        left = result.modified if command.uid else [numbers[uid] for uid in result.modified]
        answer = ok("Some had changed", b"MODIFIED " + write_set(left))
    elif not command.uid and selection.view.names_gone(command.numbers, uid=False):
        answer = no("Some of the messages are gone", b"EXPUNGEISSUED")
    else:
        answer = ok("STORE completed")
    return told(session, answer, left_out)
