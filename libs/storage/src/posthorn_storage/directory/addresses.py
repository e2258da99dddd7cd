"""Addresses as keys of the directory: one stored form for each, and the keys a recipient may be found under.

The stored form is lower case in both parts (RFC 5321 2.4 leaves the local part to the receiving system), NFC, the
domain as A-labels. It parses no header fields and knows no accounts.
"""

import re
import unicodedata
from functools import lru_cache

from posthorn_model.errors import InvalidAddress, InvalidName

MAX_LOCAL_BYTES = 64
MAX_DOMAIN_BYTES = 253
MAX_SPLITS = 8
"""Delimiters of a local part that are tried; a user with more in its name has no details."""
# RFC 5321 4.5.3.1; RFC 6531 3.3 adds all of non-ASCII to atext.
_LOCAL = re.compile(r"[^\x00-\x20\x7f-\x9f\"(),:;<>@\[\\\]\s\ud800-\udfff]+")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_QUOTED_PAIR = re.compile(r"\\(.)")


def domain_key(name: str) -> str:
    """Return the stored form of a domain name: lower case A-labels without a final dot. Raises InvalidName."""
    return _domain_key(name[: MAX_DOMAIN_BYTES * 4])


@lru_cache(maxsize=1024)
def _domain_key(name: str) -> str:
    """Made once for the domains of the hour."""
    text = unicodedata.normalize("NFC", name).strip().rstrip(".").lower()
    try:
        ascii_name = text.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise InvalidName("that is not a domain name", domain=name[:100]) from error
    if not ascii_name or len(ascii_name) > MAX_DOMAIN_BYTES or not all(map(_LABEL.fullmatch, ascii_name.split("."))):
        raise InvalidName("that is not a domain name", domain=name[:100])
    return ascii_name


def address_key(address: str) -> str:
    """Return the stored form of `local@domain`. Raises InvalidAddress."""
    local, at, domain = address.rpartition("@")
    if not at:
        raise InvalidAddress(address=address[:100])
    if len(local) >= 2 and local[0] == local[-1] == '"':
        local = _QUOTED_PAIR.sub(r"\1", local[1:-1])
    local = unicodedata.normalize("NFC", local).lower()
    if not _LOCAL.fullmatch(local) or len(local.encode(errors="replace")) > MAX_LOCAL_BYTES:
        raise InvalidAddress(address=address[:100])
    try:
        return f"{local}@{domain_key(domain)}"
    except InvalidName as error:
        raise InvalidAddress(address=address[:100]) from error


def alias_key(address: str) -> str:
    """Return the stored form of an alias: an address, or "@domain" for all of a domain. Raises InvalidAddress."""
    if not address.startswith("@"):
        return address_key(address)
    try:
        return f"@{domain_key(address[1:])}"
    except InvalidName as error:
        raise InvalidAddress(address=address[:100]) from error


def lookup_keys(address: str, delimiters: str = "+") -> tuple[str, ...]:
    """Return the stored forms a recipient is looked up under, the best first; () when it is no address.

    The address itself, without its detail (RFC 5233 sub-address), and the catch-all of its domain.
    """
    try:
        exact = address_key(address)
    except InvalidAddress:
        return ()
    local, _, domain = exact.rpartition("@")
    return (exact, *(f"{user}@{domain}" for user, _ in splits(local, delimiters)), f"@{domain}")


def splits(local: str, delimiters: str) -> list[tuple[str, str]]:
    """The ways to read a local part as user and detail (RFC 5233), the longest user first; none without a delimiter.

    A user may have delimiters in its name. One in front is part of the name, which would be empty otherwise.
    """
    places = [place for place, letter in enumerate(local) if place and letter in delimiters][:MAX_SPLITS]
    return [(local[:place], local[place + 1 :]) for place in reversed(places)]
