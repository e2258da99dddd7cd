"""ESEARCH (RFC 7377): a search in several mailboxes, one after the other, with a response for each that has a match."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from posthorn_imap.mailbox_tree import Tree, read_tree
from posthorn_imap.message_limit import check_search
from posthorn_imap.places import Named
from posthorn_imap.protocol.commands import MultiSearch
from posthorn_imap.protocol.cursor import SyntaxProblem
from posthorn_imap.protocol.esearch import esearch, to_tell
from posthorn_imap.protocol.responses import Answer, ok
from posthorn_imap.protocol.search_keys import uses_modseq
from posthorn_imap.protocol.search_sources import Scope, Source
from posthorn_imap.search_plan import matching
from posthorn_imap.selection import Selection
from posthorn_model.errors import MailboxNotFound
from posthorn_model.mail import Role
from posthorn_model.mailbox_paths import normal
from posthorn_model.rights import Right

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def multi_search(session: "Session", command: MultiSearch) -> Answer:
    """Mailboxes that are named and not there are passed over, as are those that go while it runs (RFC 7377 2.1)."""
    if uses_modseq(command.key):
        session.enable_condstore()
    tree = await read_tree(session)
    lines = []
    for named in _chosen(session, tree, command.sources):
        try:
            lines.append(await _searched(session, command, named))
        except MailboxNotFound:
            continue
    session.write(b"".join(lines))
    return ok("ESEARCH completed")


async def _searched(session: "Session", command: MultiSearch, named: Named) -> bytes:
    """The response for one mailbox; b"" where nothing matches."""
    own = session.selection
    if own is not None and own.feed.place == named.place:
        check_search(session, own, command.key)
        uids = await matching(session, own, command.key)
        if b"SAVE" in command.results.words:
            own.saved = to_tell(uids, command.results)
        return _response(session, command, own, named.name, uids)
    feed = await session.parts.changes.join(named.place)
    selection = Selection(feed, named, examined=True, recent_from=None, rev2=session.rev2, wake=lambda: None)
    try:
        check_search(session, selection, command.key)
        uids = await matching(session, selection, command.key)
        return _response(session, command, selection, named.name, uids)
    finally:
        session.parts.changes.leave(feed, selection)


def _response(session: "Session", command: MultiSearch, selection: Selection, name: str, uids: Sequence[int]) -> bytes:
    if not uids or command.results.words == {b"SAVE"}:
        return b""
    where = [b"MAILBOX", session.name(name), b"UIDVALIDITY", b"%d" % selection.feed.mailbox.uidvalidity]
    told = to_tell(uids, command.results) if uses_modseq(command.key) else []
    highest = max(map(selection.modseq, told), default=0)
    return esearch(session.tag, command.results, uids, uid=True, highest=highest, where=where)


def _chosen(session: "Session", tree: Tree, sources: Iterable[Source]) -> list[Named]:
    """The mailboxes that any of the sources means, each once, in the order of LIST."""
    wanted: set[str] = set()
    for source in sources:
        if source.scope is Scope.SELECTED and session.selection is None:
            raise SyntaxProblem("no mailbox is selected")
        wanted.update(named.name for named in tree.all() if _means(session, source, named))
    return [named for named in tree.all() if named.name in wanted and named.may(Right.READ)]


def _means(session: "Session", source: Source, named: Named) -> bool:
    name, box = named.name, named.box
    match source.scope:
        case Scope.SELECTED:
            return session.selection is not None and session.selection.feed.place == named.place
        case Scope.INBOXES:  # where mail is delivered to without a script
            return box.role in (Role.INBOX, Role.JUNK)
        case Scope.PERSONAL:
            return not named.shared
        case Scope.SUBSCRIBED:
            return box.subscribed
    tops = [normal(top) for top in source.names]
    if source.scope is Scope.MAILBOXES:
        return name in tops
    below = [name[len(top) + 1 :] for top in tops if name.startswith(top + "/")]
    return name in tops or any(source.scope is Scope.SUBTREE or "/" not in rest for rest in below)
