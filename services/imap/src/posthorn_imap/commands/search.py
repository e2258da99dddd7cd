"""SEARCH and UID SEARCH (RFC 9051 6.4.4, RFC 4731, RFC 5182, RFC 7162 3.1.5)."""

from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import Search
from posthorn_imap.protocol.responses import Answer, ok, string, untagged
from posthorn_imap.protocol.search_keys import uses_modseq
from posthorn_imap.protocol.sets import write_set
from posthorn_imap.search_plan import matching

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def search(session: "Session", command: Search) -> Answer:
    selection = session.selected
    if uses_modseq(command.key):
        session.enable_condstore()
    saving = command.results is not None and b"SAVE" in command.results
    try:
        uids = await matching(session, selection, command.key)
    except BaseException:
        if saving:
            selection.saved = []  # RFC 5182 2.1
        raise
    shown = uids if command.uid else [number for uid in uids if (number := selection.view.number(uid))]
    highest = max((selection.modseq(uid) for uid in uids), default=0) if uses_modseq(command.key) else 0
    if command.results is None:
        words = [b"SEARCH", *(b"%d" % number for number in shown)]
        if highest:
            words.append(b"(MODSEQ %d)" % highest)
        session.write(untagged(*words))
    else:
        if saving:
            selection.saved = _to_save(uids, command.results)
        if command.results != {b"SAVE"}:
            session.write(_extended(session.tag, command, shown, highest))
    return ok("SEARCH completed")


def _to_save(uids: list[int], results: frozenset[bytes]) -> list[int]:
    """What "$" becomes: all, or with MIN and MAX alone just those (RFC 5182 2.4)."""
    if results & {b"ALL", b"COUNT"} or not results & {b"MIN", b"MAX"}:
        return uids
    ends = [*(uids[:1] if b"MIN" in results else []), *(uids[-1:] if b"MAX" in results else [])]
    return sorted(set(ends))


def _extended(tag: bytes, command: Search, shown: list[int], highest: int) -> bytes:
    """The ESEARCH response; what has no value is left out (RFC 4731 3.1)."""
    results = command.results or frozenset()
    words = [b"ESEARCH", b"(TAG " + string(tag) + b")"]
    if command.uid:
        words.append(b"UID")
    if shown:
        if b"MIN" in results:
            words.append(b"MIN %d" % shown[0])
        if b"MAX" in results:
            words.append(b"MAX %d" % shown[-1])
        if b"ALL" in results:
            words.append(b"ALL " + write_set(shown))
    if b"COUNT" in results:
        words.append(b"COUNT %d" % len(shown))
    if highest:
        words.append(b"MODSEQ %d" % highest)
    return untagged(*words)
