"""What is to be done with a message, as values. Whoever runs a script does it; nothing here does."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Keep:
    """File into the inbox. `content` is the message where the script changed it, else None; so below."""

    flags: tuple[str, ...] = ()
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class FileInto:
    """File into a mailbox by its name, in UTF-8 with "/" between levels (RFC 5228 4.1)."""

    mailbox: str
    flags: tuple[str, ...] = ()
    create: bool = False
    """RFC 5490 3.2."""
    special_use: str = ""
    """RFC 8579 4: such a mailbox goes before the named one; with its backslash."""
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Redirect:
    """Send on to an address (RFC 5228 4.2)."""

    address: str
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse the message (RFC 5429). `early`: by a reply in the protocol wherever that is possible."""

    reason: str
    early: bool


@dataclass(frozen=True, slots=True)
class Vacation:
    """Answer the sender, if that was not done lately (RFC 5230)."""

    recipient: str
    sender: str
    """From of the answer, a whole address value; "" where the script names none."""
    subject: str
    """"" for the one of RFC 5230 5.4."""
    reason: str
    mime: bool
    """The reason is a MIME entity with its header."""
    handle: bytes
    """What tells this answer from others (RFC 5230 4.2): with the recipient, the key of the memory."""
    seconds: int
    """How long the memory lasts; 0: the sender is answered each time (RFC 6131 2)."""


@dataclass(frozen=True, slots=True)
class Notify:
    """Send a notification by mail (RFC 5435, RFC 5436)."""

    recipients: tuple[str, ...]
    sender: str
    message: str
    importance: str
    """"1", "2" or "3"."""
    headers: tuple[tuple[str, str], ...] = ()
    """What the mailto URI asks for, Subject and the body among it."""


Action: TypeAlias = Keep | FileInto | Redirect | Reject | Vacation | Notify
