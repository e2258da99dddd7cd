"""LIST and LSUB (RFC 9051 6.3.9, RFC 3501 6.3.9; RFC 5258, 5819, 6154)."""

from typing import TYPE_CHECKING

from posthorn_imap.commands.acl import my_rights_response
from posthorn_imap.commands.metadata import metadata_of
from posthorn_imap.commands.status import status_response
from posthorn_imap.mailbox_tree import Tree, names_above, read_tree
from posthorn_imap.places import Named
from posthorn_imap.protocol.commands import ListMailboxes, ListSubscribed
from posthorn_imap.protocol.mailbox_names import matches
from posthorn_imap.protocol.responses import Answer, listed, ok, untagged
from posthorn_model.mail import Mailbox, Role
from posthorn_model.mailbox_paths import SEPARATOR
from posthorn_model.rights import Right

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
    for above in _levels_shown(tree, command):
        session.write(_line(b"LIST", session.name(above), [b"\\Noselect", b"\\HasChildren"]))
    for named in tree.all():
        if not any(matches(named.name, pattern) for pattern in command.patterns):
            continue
        chosen = _chosen(named.box, command)
        below = command.recursive_match and _chosen_below(tree, named.name, command)
        if not (chosen or below):
            continue
        session.write(
            _line(
                b"LIST",
                session.name(named.name),
                _attributes(tree, named, subscribed=command.return_subscribed and named.box.subscribed),
                below=bool(below),
            )
        )
        if chosen and command.return_rights:
            session.write(my_rights_response(session, named.name, named.held))
        if chosen and command.return_status and named.may(Right.READ):
            session.write(await status_response(session, named, command.return_status))
        if chosen and command.return_metadata:
            session.write(await metadata_of(session, named, command.return_metadata))
        await session.connection.flow()
    return ok("LIST completed")


def _levels_shown(tree: Tree, command: ListMailboxes) -> list[str]:
    """Levels above mailboxes that are none themselves, where a pattern ends with "%" (RFC 9051 6.3.9)."""
    if command.subscribed_only or command.special_only:
        return []
    patterns = [pattern for pattern in command.patterns if pattern.endswith("%")]
    return sorted(
        name
        for name in (tree.above if patterns else ())
        if not tree.shows(name) and any(matches(name, pattern) for pattern in patterns)
    )


def _chosen(box: Mailbox, command: ListMailboxes) -> bool:
    return (not command.subscribed_only or box.subscribed) and (not command.special_only or box.role in _USES)


def _chosen_below(tree: Tree, name: str, command: ListMailboxes) -> bool:
    """Whether a mailbox below is chosen though no pattern names it (RFC 5258 3.5)."""
    return any(
        other.name.startswith(name + SEPARATOR)
        and _chosen(other.box, command)
        and not any(matches(other.name, pattern) for pattern in command.patterns)
        for other in tree.all()
    )


def _attributes(tree: Tree, named: Named, *, subscribed: bool) -> list[bytes]:
    found = [_children(tree, named.name)]
    if subscribed:
        found.append(b"\\Subscribed")
    if named.box.role in _USES:
        found.append(_USES[named.box.role])
    return found


def _children(tree: Tree, name: str) -> bytes:
    return b"\\HasChildren" if name in tree.above else b"\\HasNoChildren"


def gone_response(session: "Session", name: str) -> bytes:
    """What LIST says of a mailbox that was deleted (RFC 5465 5.4)."""
    return _line(b"LIST", session.name(name), [b"\\NonExistent"])


def list_response(session: "Session", tree: Tree, named: Named, *, old: str | None = None) -> bytes:
    """What LIST says of one mailbox, unasked (RFC 9051 6.3.2, RFC 5465 5.4); `old` is what its name was."""
    return _line(
        b"LIST",
        session.name(named.name),
        _attributes(tree, named, subscribed=named.box.subscribed),
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
    shown: dict[str, bytes] = {}
    for named in tree.all():
        if not named.box.subscribed:
            continue
        if matches(named.name, command.pattern):
            shown[named.name] = _children(tree, named.name)
        elif command.pattern.endswith("%"):
            for above in names_above(named.name):
                if matches(above, command.pattern):
                    shown.setdefault(above, b"\\Noselect")
    for name, attribute in shown.items():
        session.write(_line(b"LSUB", session.name(name), [attribute]))
    return ok("LSUB completed")
