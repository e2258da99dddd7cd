"""The ESEARCH response (RFC 4731, RFC 5267), and what a search saves for "$" (RFC 5182)."""

from collections.abc import Sequence

from posthorn_imap.protocol.commands import Results
from posthorn_imap.protocol.partial import part_of, write_partial
from posthorn_imap.protocol.responses import listed, string, untagged
from posthorn_imap.protocol.sets import write_set


def esearch(
    tag: bytes, results: Results, found: Sequence[int], *, uid: bool, highest: int, where: Sequence[bytes] = ()
) -> bytes:
    """The response for what was `found`, in the order found; what has no value is left out (RFC 4731 3.1).

    `highest` is the highest mod-sequence to tell, 0 for none; `where` names the mailbox (RFC 7377 2.1).
    """
    words = [b"ESEARCH", listed([b"TAG", string(tag), *where])]
    if uid:
        words.append(b"UID")
    if found:
        if b"MIN" in results.words:
            words.append(b"MIN %d" % found[0])
        if b"MAX" in results.words:
            words.append(b"MAX %d" % found[-1])
        if b"ALL" in results.words:
            words.append(b"ALL " + write_set(found))
    if results.partial is not None:
        inside = write_set(part_of(found, results.partial)) or b"NIL"
        words.append(b"PARTIAL (" + write_partial(results.partial) + b" " + inside + b")")
    if b"COUNT" in results.words:
        words.append(b"COUNT %d" % len(found))
    if highest:
        words.append(b"MODSEQ %d" % highest)
    return untagged(*words)


def to_tell(uids: Sequence[int], results: Results) -> list[int]:
    """The messages that a response speaks of, ascending: all, or with MIN, MAX and PARTIAL alone just those.

    That is what "$" becomes (RFC 5182 2.4, RFC 9394 3.2), and whose highest mod-sequence is told (RFC 4731 3.2).
    """
    words = results.words
    if words & {b"ALL", b"COUNT"} or not words & {b"MIN", b"MAX", b"PARTIAL"}:
        return sorted(uids)
    inside = [] if results.partial is None else part_of(uids, results.partial)
    ends = [*(uids[:1] if b"MIN" in words else []), *(uids[-1:] if b"MAX" in words else [])]
    return sorted({*ends, *inside})
