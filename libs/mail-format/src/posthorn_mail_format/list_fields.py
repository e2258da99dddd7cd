"""What a mailing list changes in a message it passes on: its own List-* fields for others' (RFC 2369, RFC 2919).

Nothing else is touched, so that signatures of the author over the rest still hold.
"""

import re
from dataclasses import dataclass
from typing import Final

from posthorn_mail_format.headers import header_end, iterate
from posthorn_mail_format.octets import Octets
from posthorn_mail_format.writing import phrase

_OTHERS: Final = frozenset(
    {
        b"list-id", b"list-post", b"list-help", b"list-owner", b"list-subscribe", b"list-unsubscribe",
        b"list-unsubscribe-post", b"list-archive", b"precedence", b"return-path",
    }
)  # fmt: skip
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.!#$*/^_`{|}~-]")


@dataclass(frozen=True, slots=True)
class ListNames:
    """How a list is called."""

    address: str
    name: str
    """For people; may be empty."""
    open: bool
    """Somebody may post to it by mail."""


def list_id(address: str) -> str:
    """The List-Id of an address, without brackets: the local part as one more label (RFC 2919 2)."""
    local, _, domain = address.rpartition("@")
    return f"{local}.{domain}"


def bounce_address(address: str) -> str:
    """Where reports about mail of the list go: never to its authors."""
    local, _, domain = address.rpartition("@")
    return f"{local}-bounces@{domain}"


def owner_address(address: str) -> str:
    """The people who run the list (RFC 2142 6)."""
    local, _, domain = address.rpartition("@")
    return f"{local}-owner@{domain}"


def listed(content: bytes, names: ListNames) -> bytes:
    """The message as the list sends it."""
    end = header_end(content, 0, len(content))
    fields = list(iterate(content, 0, end))
    kept = [content[field.start : field.end] for field in fields if field.name.lower() not in _OTHERS]
    last = fields[-1].end if fields else 0
    rest = content[last:]
    owner = f"<mailto:{_url(owner_address(names.address))}>"
    title = f"{phrase(names.name)} " if names.name else ""
    own = [
        f"Delivered-To: {names.address}",
        f"List-Id: {title}<{list_id(names.address)}>",
        f"List-Post: <mailto:{_url(names.address)}>" if names.open else "List-Post: NO",
        f"List-Owner: {owner}",
        f"List-Unsubscribe: {owner[:-1]}?subject=unsubscribe>",
        "Precedence: list",
    ]
    head = "".join(f"{line}\r\n" for line in own).encode()
    gap = b"" if rest.startswith((b"\r\n", b"\n")) else b"\r\n"
    return b"".join((head, *kept, gap, rest))


def was_delivered_to(content: Octets, address: str) -> bool:
    """Whether the message has been passed on by this address before: it goes round in a loop."""
    wanted = address.lower().encode()
    fields = iterate(content, 0, header_end(content, 0, len(content)))
    return any(field.name.lower() == b"delivered-to" and field.value.strip().lower() == wanted for field in fields)


def passed_on(content: Octets, address: str) -> bytes:
    """The message as a forwarding address sends it on: without Return-Path, and marked against loops."""
    start = next(iterate(content)).end if content[:12].lower() == b"return-path:" else 0
    return f"Delivered-To: {address}\r\n".encode() + content[start:]


def _url(address: str) -> str:
    """An address inside of a mailto URL (RFC 6068 2)."""
    local, _, domain = address.rpartition("@")
    return (
        "".join(f"%{octet:02X}" if _UNSAFE.match(chr(octet)) else chr(octet) for octet in local.encode()) + f"@{domain}"
    )
