"""STORE and UID STORE (RFC 9051 6.4.6, RFC 7162 3.1.3)."""

from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import Store
from posthorn_imap.protocol.responses import Answer, no, ok
from posthorn_imap.protocol.sets import write_set
from posthorn_model.ids import Modseq

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def store(session: "Session", command: Store) -> Answer:
    selection = session.selected
    if command.unchanged_since is not None:
        session.enable_condstore()
    chosen = selection.chosen(command.numbers, uid=command.uid)
    if selection.read_only:
        return no("The mailbox is selected read-only")
    feed = selection.feed
    numbers = {uid: number for number, uid in chosen}
    since = command.unchanged_since
    result = await session.parts.storage.mail.set_flags(
        feed.account,
        feed.id,
        list(numbers),
        op=command.op,
        system=command.flags.system,
        keywords=command.flags.keywords,
        unchanged_since=None if since is None else Modseq(since),
    )
    feed.flags_set(result)
    modified = set(result.modified)
    changed = {int(entry.uid) for entry in result.changed}
    told = []
    for uid, number in numbers.items():
        if uid in modified or uid not in feed.entries or selection.modseq(uid) > result.modseq:
            continue
        told.append(uid)
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
    selection.view.told(told)
    if result.modified:
        left = result.modified if command.uid else [numbers[uid] for uid in result.modified]
        return ok("Some had changed", b"MODIFIED " + write_set(left))
    if not command.uid and selection.view.names_gone(command.numbers, uid=False):
        return no("Some of the messages are gone", b"EXPUNGEISSUED")
    return ok("STORE completed")
