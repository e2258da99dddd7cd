"""LIST and LSUB (RFC 9051 6.3.9, RFC 3501 6.3.9; RFC 5258, 5819, 6154)."""

from typing import TYPE_CHECKING

from posthorn_imap.commands.metadata import metadata_of
from posthorn_imap.commands.status import status_response
from posthorn_imap.mailbox_tree import Tree, read_tree
from posthorn_imap.protocol.commands import ListMailboxes, ListSubscribed
from posthorn_imap.protocol.mailbox_names import levels, matches
from posthorn_imap.protocol.responses import Answer, listed, ok, untagged
from posthorn_model.mail import Mailbox, Role
from posthorn_model.mailbox_paths import SEPARATOR

if TYPE_CHECKING:
    from posthorn_imap.session import Session

_USES = {
    Role.DRAFTS: b"\\Drafts",
    Role.SENT: b"\\Sent",
    Role.JUNK: b"\\Junk",
    Role.TRASH: b"\\Trash",
    Role.ARCHIVE: b"\\Archive",
}


async def list_mailboxes(session: "Session", command: ListMailboxes) -> Answer:
    if command.separator_only:
        session.write(untagged(b'LIST (\\Noselect) "/" ""'))
        return ok("LIST completed")
    tree = await read_tree(session)
    for name, box in tree.all():
        if not any(matches(name, pattern) for pattern in command.patterns):
            continue
        chosen = _chosen(box, command)
        below = command.recursive_match and _chosen_below(tree, name, command)
        if not (chosen or below):
            continue
        session.write(
            _line(
                b"LIST",
                session.name(name),
                _attributes(tree, box, subscribed=command.return_subscribed and box.subscribed),
                below=bool(below),
            )
        )
        if chosen and command.return_status:
            session.write(await status_response(session, name, box, command.return_status))
        if chosen and command.return_metadata:
            session.write(await metadata_of(session, name, box.id, command.return_metadata))
        await session.connection.flow()
    return ok("LIST completed")


def _chosen(box: Mailbox, command: ListMailboxes) -> bool:
    return (not command.subscribed_only or box.subscribed) and (not command.special_only or box.role in _USES)


def _chosen_below(tree: Tree, name: str, command: ListMailboxes) -> bool:
    """Whether a mailbox below is chosen though no pattern names it (RFC 5258 3.5)."""
    return any(
        other.startswith(name + SEPARATOR)
        and _chosen(box, command)
        and not any(matches(other, pattern) for pattern in command.patterns)
        for other, box in tree.all()
    )


def _attributes(tree: Tree, box: Mailbox, *, subscribed: bool) -> list[bytes]:
    found = [b"\\HasChildren" if tree.has_children(box.id) else b"\\HasNoChildren"]
    if subscribed:
        found.append(b"\\Subscribed")
    if box.role in _USES:
        found.append(_USES[box.role])
    return found


def gone_response(session: "Session", name: str) -> bytes:
    """What LIST says of a mailbox that was deleted (RFC 5465 5.4)."""
    return _line(b"LIST", session.name(name), [b"\\NonExistent"])


def list_response(session: "Session", tree: Tree, box: Mailbox, *, old: str | None = None) -> bytes:
    """What LIST says of one mailbox, unasked (RFC 9051 6.3.2, RFC 5465 5.4); `old` is what its name was."""
    return _line(
        b"LIST",
        session.name(tree.name(box.id) or ""),
        _attributes(tree, box, subscribed=box.subscribed),
        old=b"" if old is None else session.name(old),
    )


def _line(kind: bytes, name: bytes, attributes: list[bytes], *, below: bool = False, old: bytes = b"") -> bytes:
    words = [kind, listed(attributes), b'"/"', name]
    if below:
        words.append(b'("CHILDINFO" ("SUBSCRIBED"))')
    if old:
        words.append(b'("OLDNAME" (' + old + b"))")
    return untagged(*words)


async def list_subscribed(session: "Session", command: ListSubscribed) -> Answer:
    """With "%" a mailbox that is not subscribed is named, as \\Noselect, for the sake of those below it."""
    tree = await read_tree(session)
    named: dict[str, list[bytes]] = {}
    for name, box in tree.all():
        if not box.subscribed:
            continue
        if matches(name, command.pattern):
            named[name] = [b"\\HasChildren" if tree.has_children(box.id) else b"\\HasNoChildren"]
        elif command.pattern.endswith("%"):
            path = levels(name)
            for depth in range(1, len(path)):
                above = SEPARATOR.join(path[:depth])
                if matches(above, command.pattern):
                    named.setdefault(above, [b"\\Noselect"])
    for name, attributes in named.items():
        session.write(_line(b"LSUB", session.name(name), attributes))
    return ok("LSUB completed")
