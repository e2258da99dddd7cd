"""SEARCH and SORT, and their UID forms (RFC 9051 6.4.4; 4731, 5182, 5256, 5267, 7162 3.1.5, 9738)."""

from typing import TYPE_CHECKING

from posthorn_imap.contexts import keep
from posthorn_imap.message_limit import check_search, last_of_search
from posthorn_imap.message_order import in_order
from posthorn_imap.protocol.commands import CancelUpdate, Search, Sort
from posthorn_imap.protocol.esearch import esearch, to_tell
from posthorn_imap.protocol.responses import Answer, ok, untagged
from posthorn_imap.protocol.search_keys import Key, uses_modseq
from posthorn_imap.search_plan import matching
from posthorn_imap.selection import Selection

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def search(session: "Session", command: Search) -> Answer:
    key, left_out = last_of_search(session, session.selected, command.key)
    await _find(session, command, key)
    return ok("SEARCH completed", left_out)


async def sort(session: "Session", command: Sort) -> Answer:
    check_search(session, session.selected, command.key)
    await _find(session, command, command.key)
    return ok("SORT completed")


async def cancel_update(session: "Session", command: CancelUpdate) -> Answer:
    """RFC 5267 4.4; what is not kept up to date needs no cancelling."""
    for tag in command.tags:
        session.selected.contexts.pop(tag, None)
    return ok("CANCELUPDATE completed")


async def _find(session: "Session", command: Search | Sort, key: Key) -> None:
    """Search, sort where that was asked for, and write what was found; `key` may look at less than the command's."""
    selection, results = session.selected, command.results
    modseqs, saving = uses_modseq(command.key), results is not None and b"SAVE" in results.words
    if modseqs:
        session.enable_condstore()
    if not (selection.contexts or selection.view.stale):
        selection.contexts_stale = False
    try:
        uids = await matching(session, selection, key)
        if isinstance(command, Sort):
            uids = await in_order(session, selection, uids, command.criteria)
    except BaseException:
        if saving:
            selection.saved = []  # RFC 5182 2.1
        raise
    told = to_tell(uids, results) if results is not None and (saving or modseqs) else uids
    if saving:
        selection.saved = told
    highest = max(map(selection.modseq, told), default=0) if modseqs else 0
    _write(session, selection, command, uids, highest, backwards=key is not command.key)
    if results is not None and results.update:
        keep(session, selection, command, uids, whole=key is command.key)


def _write(
    session: "Session",
    selection: Selection,
    command: Search | Sort,
    uids: list[int],
    highest: int,
    *,
    backwards: bool,
) -> None:
    """`highest`: the mod-sequence to tell, 0 for none; `backwards`: the plain response begins with the last message."""
    shown = uids if command.uid else selection.view.numbers(uids)
    if command.results is None:
        words = [b"SORT" if isinstance(command, Sort) else b"SEARCH"]
        words += [b"%d" % number for number in (reversed(shown) if backwards else shown)]
        if highest:
            words.append(b"(MODSEQ %d)" % highest)
        session.write(untagged(*words))
    elif command.results.words != {b"SAVE"}:
        session.write(esearch(session.tag, command.results, shown, uid=command.uid, highest=highest))
