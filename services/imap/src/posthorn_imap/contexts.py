"""Searches that are kept up to date (RFC 5267 4.3): what they found, and what the client hears when that changes.

A context is searched again when something happened in its mailbox, and the difference is told. Messages never change
what they are sorted by, so that they come and go and never move.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from posthorn_imap.message_order import in_order
from posthorn_imap.protocol.commands import Search, Sort
from posthorn_imap.protocol.responses import no, string, untagged
from posthorn_imap.protocol.search_keys import numbers_messages
from posthorn_imap.protocol.sets import write_set
from posthorn_imap.search_plan import matching
from posthorn_imap.selection import Selection
from posthorn_model.errors import PosthornError

if TYPE_CHECKING:
    from posthorn_imap.session import Session

MAX_CONTEXTS = 4
"""Of one session."""
MAX_MESSAGES = 10_000
"""Found by one of them: it is searched again at every change."""


@dataclass(slots=True)
class Context:
    """A search with UPDATE, and the UIDs the client knows of, in their order."""

    tag: bytes
    command: Search | Sort
    uids: list[int]

    def line(self, word: bytes, pairs: Iterable[bytes]) -> bytes:
        """ADDTO or REMOVEFROM with its pairs of position and message."""
        words = [b"ESEARCH (TAG " + string(self.tag) + b")", *([b"UID"] if self.command.uid else [])]
        return untagged(*words, word, b"(" + b" ".join(pairs) + b")")

    def told(self, selection: Selection, word: bytes, uids: Sequence[int], order: Sequence[int]) -> bytes:
        """The line for some UIDs at their places in `order`; those of SEARCH have none (position 0)."""
        view = selection.view
        if isinstance(self.command, Search):
            shown = uids if self.command.uid else view.numbers(uids)
            return self.line(word, [b"0 " + write_set(sorted(shown))])
        places = {uid: place for place, uid in enumerate(order, 1)}
        return self.line(
            word,
            [b"%d %d" % (places[uid], uid if self.command.uid else view.number(uid) or 0) for uid in uids],
        )


def keep(session: "Session", selection: Selection, command: Search | Sort, uids: Sequence[int], *, whole: bool) -> None:
    """Keep what a search with UPDATE found, or say that it will not be (RFC 5267 4.3.2).

    `whole`: it looked at all the messages that it should.
    """
    contexts = selection.contexts
    contexts.pop(session.tag, None)
    if numbers_messages(command.key):
        reason = "Sequence numbers are searched once"
    elif len(contexts) >= MAX_CONTEXTS:
        reason = "Too many contexts"
    elif len(uids) > MAX_MESSAGES or not whole:
        reason = "Too many messages"
    else:
        contexts[session.tag] = Context(session.tag, command, list(uids))
        return
    session.write(no(reason, b"NOUPDATE " + string(session.tag)).line())


def leaving(selection: Selection) -> bytes:
    """What contexts lose by expunges that are about to be told, while the client's numbers still hold."""
    lines = []
    for context in selection.contexts.values():
        gone = [uid for uid in context.uids if selection.view.gone(uid)]
        if gone:
            gone.reverse()  # from the end, so that each position is right when it is read
            lines.append(context.told(selection, b"REMOVEFROM", gone, context.uids))
            context.uids = [uid for uid in context.uids if not selection.view.gone(uid)]
    return b"".join(lines)


async def refreshed(session: "Session", selection: Selection) -> bytes:
    """Search the contexts again, and what the client must hear. When the store fails, the next change tries again.

    Call it when all that was expunged is told.
    """
    selection.contexts_stale = False
    lines: list[bytes] = []
    for context in list(selection.contexts.values()):
        try:
            found = await matching(session, selection, context.command.key)
            if isinstance(context.command, Sort):
                found = await in_order(session, selection, found, context.command.criteria)
        except PosthornError as error:
            session.log.info("could not update a context", reason=error.public)
            selection.contexts_stale = True
            continue
        lines += _differences(selection, context, found)
    return b"".join(lines)


def _differences(selection: Selection, context: Context, found: list[int]) -> list[bytes]:
    now, before = set(found), set(context.uids)
    left = [uid for uid in reversed(context.uids) if uid not in now]
    new = [uid for uid in found if uid not in before]
    lines = [context.told(selection, b"REMOVEFROM", left, context.uids)] if left else []
    if new:
        lines.append(context.told(selection, b"ADDTO", new, found))
    context.uids = found
    return lines
