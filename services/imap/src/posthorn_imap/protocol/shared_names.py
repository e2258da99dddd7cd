"""Names of mailboxes of other accounts (RFC 2342): "Other Users/ADDRESS/NAME", NAME being their owner's word for it."""

from typing import Final

from posthorn_model.mailbox_paths import SEPARATOR

OTHERS: Final = "Other Users"
PREFIX: Final = OTHERS + SEPARATOR


def prefix_of(address: str) -> str:
    """What stands in front of the names of an account's mailboxes. A slash in its address is no separator."""
    return PREFIX + address.replace("=", "=3D").replace(SEPARATOR, "=2F") + SEPARATOR


def owner_in(name: str) -> str | None:
    """The address in a name of this namespace; None for names elsewhere, and for those that name no mailbox."""
    if not name.startswith(PREFIX):
        return None
    shown, _, rest = name.removeprefix(PREFIX).partition(SEPARATOR)
    return shown.replace("=2F", SEPARATOR).replace("=3D", "=") if shown and rest else None


def within(name: str) -> str:
    """What the owner calls a mailbox of this namespace."""
    return name.removeprefix(PREFIX).partition(SEPARATOR)[2]
