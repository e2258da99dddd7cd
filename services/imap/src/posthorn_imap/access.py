"""What a session may do with the mailbox it has selected (RFC 4314 5.2), looked at again while it is another's."""

from typing import TYPE_CHECKING

from posthorn_imap.protocol.flag_names import NAMES
from posthorn_imap.protocol.responses import bye, listed, ok
from posthorn_imap.selection import Selection
from posthorn_model.flags import Flags, SystemFlag
from posthorn_model.rights import Right
from posthorn_storage.mail import FlagsScope

if TYPE_CHECKING:
    from posthorn_imap.session import Session

MAX_KEYWORDS_TOLD = 200


async def reassess(session: "Session") -> None:
    """Read the rights again, and tell what became of them; without r the mailbox is lost. Raises Unavailable.

    Done before each command and at each event: whoever has taken a right back need not wait for anybody.
    """
    selection = session.selection
    if selection is None or not selection.shared or selection.lost is not None:
        return
    held = await session.parts.storage.mail.rights_of(*selection.feed.place, session.user.id)
    if Right.READ not in held:
        selection.lose(bye("The right to read the selected mailbox was taken back", b"NOPERM"))
    elif held != selection.held:
        was_read_only, selection.held = selection.read_only, held
        session.write(permanent_flags(selection))
        if selection.read_only != was_read_only:
            session.write(ok("The rights have changed", access_code(selection)).line())


def access_code(selection: Selection) -> bytes:
    """The response code of SELECT."""
    return b"READ-ONLY" if selection.read_only else b"READ-WRITE"


def flags_scope(held: Right) -> FlagsScope:
    """The flags that these rights let change (RFC 4314 2.1)."""
    may = SystemFlag.NONE
    if Right.SEEN in held:
        may |= SystemFlag.SEEN
    if Right.DELETE_MESSAGES in held:
        may |= SystemFlag.DELETED
    if Right.WRITE in held:
        may |= SystemFlag.ANSWERED | SystemFlag.FLAGGED | SystemFlag.DRAFT
    return FlagsScope(may, keywords=Right.WRITE in held)


def allowed_flags(held: Right, flags: Flags) -> Flags:
    """Of flags for a new message, those that may be set; the others are left out without a word (RFC 4314 4)."""
    may = flags_scope(held)
    return Flags(flags.system & may.system, flags.keywords if may.keywords else frozenset())


def told_keywords(selection: Selection) -> list[bytes]:
    """The keywords that FLAGS and PERMANENTFLAGS name: those seen on messages, as far as they are atoms."""
    words = sorted(selection.feed.keywords)[:MAX_KEYWORDS_TOLD]
    return [word.encode() for word in words if word.isascii() and not any(letter in '(){%*"\\]' for letter in word)]


def permanent_flags(selection: Selection) -> bytes:
    """The untagged OK that says which flags this session can change."""
    flags: list[bytes] = []
    if not selection.examined:
        may = flags_scope(selection.held)
        flags = [name for flag, name in NAMES.items() if flag & may.system]
        if may.keywords:
            flags += [*told_keywords(selection), b"\\*"]
    return ok("Flags that can be kept", b"PERMANENTFLAGS " + listed(flags)).line()
