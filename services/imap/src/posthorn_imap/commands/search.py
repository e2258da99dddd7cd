"""SEARCH and SORT, and their UID forms (RFC 9051 6.4.4, RFC 4731, RFC 5182, RFC 5256, RFC 5267, RFC 7162 3.1.5)."""

from typing import TYPE_CHECKING

from posthorn_imap.contexts import keep
from posthorn_imap.message_order import in_order
from posthorn_imap.protocol.commands import CancelUpdate, Search, Sort
from posthorn_imap.protocol.esearch import esearch, to_save
from posthorn_imap.protocol.responses import Answer, ok, untagged
from posthorn_imap.protocol.search_keys import uses_modseq
from posthorn_imap.search_plan import matching
from posthorn_imap.selection import Selection

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def search(session: "Session", command: Search) -> Answer:
    await _find(session, command)
    return ok("SEARCH completed")


async def sort(session: "Session", command: Sort) -> Answer:
    await _find(session, command)
    return ok("SORT completed")


async def cancel_update(session: "Session", command: CancelUpdate) -> Answer:
    """RFC 5267 4.4; what is not kept up to date needs no cancelling."""
    for tag in command.tags:
        session.selected.contexts.pop(tag, None)
    return ok("CANCELUPDATE completed")


async def _find(session: "Session", command: Search | Sort) -> None:
    """Search, sort where that was asked for, and write what was found."""
    selection = session.selected
    if uses_modseq(command.key):
        session.enable_condstore()
    if not (selection.contexts or selection.view.stale):
        selection.contexts_stale = False
    saving = command.results is not None and b"SAVE" in command.results.words
    try:
        uids = await matching(session, selection, command.key)
        if isinstance(command, Sort):
            uids = await in_order(session, selection, uids, command.criteria)
    except BaseException:
        if saving:
            selection.saved = []  # RFC 5182 2.1
        raise
    if command.results is not None and saving:
        selection.saved = to_save(uids, command.results)
    _write(session, selection, command, uids)
    if command.results is not None and command.results.update:
        keep(session, selection, command, uids)


def _write(session: "Session", selection: Selection, command: Search | Sort, uids: list[int]) -> None:
    shown = uids if command.uid else selection.view.numbers(uids)
    highest = max((selection.modseq(uid) for uid in uids), default=0) if uses_modseq(command.key) else 0
    if command.results is None:
        words = [b"SORT" if isinstance(command, Sort) else b"SEARCH", *(b"%d" % number for number in shown)]
        if highest:
            words.append(b"(MODSEQ %d)" % highest)
        session.write(untagged(*words))
    elif command.results.words != {b"SAVE"}:
        session.write(esearch(session.tag, command.results, shown, uid=command.uid, highest=highest))
