"""URLs that carry an authorization of their own (RFC 4467): read as values, and the token that proves one.

`imap://USER@HOST/MAILBOX/;UID=20;EXPIRE=...;URLAUTH=ACCESS:INTERNAL:TOKEN` lets others read what USER may read. HOST is
part of what the token proves, and is not looked at: which names a cluster is reached by, it does not know.
"""

import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_to_bytes

from posthorn_imap.protocol.message_urls import MAX_URL, BadUrl, MessageUrl, message_url

MECHANISM = b"INTERNAL"
_ALGORITHM = "01"
"""In front of each token: HMAC-SHA-256 over the URL up to the access identifier (RFC 4467 3)."""
_URL = re.compile(
    rb"(?P<rump>imap://(?P<user>[^@/;:?#\s]{1,512})@[^@/;?#\s]{1,255}(?P<message>/[^?#\s]*?)"
    rb"(?:;EXPIRE=(?P<expire>[0-9TZ:.+-]{20,40}))?;URLAUTH=(?P<access>[A-Za-z]+(?:\+[^:;?#\s]{1,512})?))"
    rb"(?::(?P<mechanism>[A-Za-z0-9.-]{1,64})(?::(?P<token>[0-9A-Fa-f]{32,256}))?)?",
    re.IGNORECASE,
)
_ALONE = frozenset({"anonymous", "authuser"})
_WITH_NAME = frozenset({"user", "submit"})


@dataclass(frozen=True, slots=True)
class AccessUrl:
    """`rump`: all but mechanism and token, which are empty while it proves nothing yet (GENURLAUTH)."""

    url: bytes
    rump: bytes
    user: str
    """Whose rights it lends."""
    message: MessageUrl
    expires: datetime | None
    kind: str
    """Who may use it: "anonymous", "authuser", "user" or "submit"; the last two with the `name` of somebody."""
    name: str
    mechanism: bytes
    token: str


def is_absolute(octets: bytes) -> bool:
    """Whether a URL names a server, so that it is good with an authorization alone."""
    return octets[:7].lower() == b"imap://"


def access_url(octets: bytes) -> AccessUrl:
    """Read one. Raises BadUrl."""
    found = _URL.fullmatch(octets) if len(octets) <= MAX_URL and octets.isascii() else None
    if found is None:
        raise BadUrl(octets)
    kind, _, name = found["access"].decode("ascii").partition("+")
    kind = kind.lower()
    if kind not in (_WITH_NAME if name else _ALONE):
        raise BadUrl(octets)
    try:
        user = unquote_to_bytes(found["user"]).decode("utf-8")
        name = unquote_to_bytes(name).decode("utf-8")
        expires = datetime.fromisoformat(found["expire"].decode("ascii")) if found["expire"] else None
    except ValueError:
        raise BadUrl(octets) from None
    if expires is not None and expires.tzinfo is None:
        raise BadUrl(octets)
    try:
        message = message_url(found["message"])
    except BadUrl:
        raise BadUrl(octets) from None
    if not message.mailbox:
        raise BadUrl(octets)
    mechanism, token = found["mechanism"] or b"", found["token"] or b""
    return AccessUrl(
        octets, found["rump"], user, message, expires, kind, name, mechanism.upper(), token.decode("ascii").lower()
    )


def token_of(rump: bytes, key: bytes) -> str:
    """What proves a URL to who has the key of its mailbox."""
    return _ALGORITHM + hmac.new(key, rump, "sha256").hexdigest()


def proves(url: AccessUrl, key: bytes) -> bool:
    return url.mechanism == MECHANISM and hmac.compare_digest(url.token, token_of(url.rump, key))


@dataclass(frozen=True, slots=True)
class GenUrlAuth:
    """GENURLAUTH: the URLs up to their access identifiers."""

    urls: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ResetKey:
    """RESETKEY: of one mailbox, or of all."""

    mailbox: str | None


@dataclass(frozen=True, slots=True)
class UrlFetch:
    urls: tuple[bytes, ...]
