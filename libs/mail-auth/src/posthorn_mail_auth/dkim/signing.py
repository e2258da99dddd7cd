"""Writes DKIM-Signature fields (RFC 6376 5, RFC 8463): relaxed forms, SHA-256, the whole body, several keys at once."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from posthorn_mail_auth.canonical import BodyHash, Form
from posthorn_mail_auth.dkim.signature import choose, signed_octets
from posthorn_mail_auth.message import Message, split

SIGNED = (
    b"from", b"reply-to", b"subject", b"date", b"to", b"cc", b"message-id", b"in-reply-to", b"references",
    b"mime-version", b"content-type", b"content-transfer-encoding", b"content-disposition", b"content-id",
    b"content-description", b"sender", b"resent-date", b"resent-from", b"resent-sender", b"resent-to", b"resent-cc",
    b"resent-message-id", b"list-id", b"list-help", b"list-unsubscribe", b"list-unsubscribe-post", b"list-subscribe",
    b"list-post", b"list-owner", b"list-archive", b"autocrypt",
)  # fmt: skip
"""Fields that are signed where present (RFC 6376 5.4.1): each of them, as often as it stands there."""
SEALED = frozenset(
    {
        b"from",
        b"reply-to",
        b"subject",
        b"date",
        b"to",
        b"cc",
        b"message-id",
        b"mime-version",
        b"content-type",
        b"sender",
    }
)
"""Named once more than they stand there, so that nobody can add one (RFC 6376 8.15)."""
_PREHASHED = Prehashed(SHA256())
_WIDTH = 72


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and where its public half is published: `selector`._domainkey.`domain`."""

    domain: str
    selector: str
    private: RSAPrivateKey | Ed25519PrivateKey = field(repr=False)

    @property
    def algorithm(self) -> str:
        """a= of its signatures."""
        return "rsa-sha256" if isinstance(self.private, RSAPrivateKey) else "ed25519-sha256"

    def signature_of(self, octets: bytes) -> bytes:
        """The signature over octets."""
        digest = hashlib.sha256(octets).digest()
        if isinstance(self.private, RSAPrivateKey):
            return self.private.sign(digest, PKCS1v15(), _PREHASHED)
        return self.private.sign(digest)


def sign(content: bytes, keys: Sequence[SigningKey], *, at: int, lifetime: int | None = None) -> bytes:
    """Return a DKIM-Signature field for each key, to stand in front of the message, their line ends included.

    `content` is the whole message with CRLF line ends, `at` is in seconds since 1970, `lifetime` is in seconds: what
    is older need not be taken (x=). The body is hashed once for all keys. A message without From is not signed:
    returns b"" (RFC 6376 5.4).
    """
    message = split(content)
    names = _names(message)
    if not keys or b"from" not in names or not message.named(b"from"):
        return b""
    body = base64.b64encode(BodyHash(message.body, Form.RELAXED).digest)
    return b"".join(_field(message, key, names, body, at, lifetime) for key in keys)


def _names(message: Message) -> list[bytes]:
    """h=: every field to be signed as often as it stands there, and some once more."""
    counts: dict[bytes, int] = {}
    for each in message.fields:
        counts[each.name] = counts.get(each.name, 0) + 1
    return [name for name in SIGNED for _ in range(min(counts.get(name, 0), 20) + (name in SEALED))]


def _field(
    message: Message, key: SigningKey, names: Sequence[bytes], body: bytes, at: int, lifetime: int | None
) -> bytes:
    tags = [
        b"v=1",
        b"a=" + key.algorithm.encode(),
        b"c=relaxed/relaxed",
        b"d=" + key.domain.encode("ascii"),
        b"s=" + key.selector.encode("ascii"),
        b"t=%d" % at,
        *([b"x=%d" % (at + lifetime)] if lifetime is not None else []),
        b"h=" + b":".join(names),
        b"bh=" + body,
        b"b=",
    ]
    unsigned = write_tags(b"DKIM-Signature:", tags)
    value = key.signature_of(signed_octets(choose(message, names), unsigned + b"\r\n", Form.RELAXED))
    return unsigned + folded(base64.b64encode(value)) + b"\r\n"


def write_tags(name: bytes, tags: Iterable[bytes]) -> bytes:
    """A field of tags without its last line end, folded between tags and between the names of a list."""
    lines = [name]
    for tag in tags:
        if len(lines[-1]) + 2 + len(tag) <= _WIDTH:
            lines[-1] += b" " + tag + b";"
            continue
        words = [word + b":" for word in tag.split(b":")]
        lines.append(b"\t")
        for word in words:
            if len(lines[-1]) + len(word) > _WIDTH:
                lines.append(b"\t")
            lines[-1] += word
        lines[-1] = lines[-1][:-1] + b";"
    return b"\r\n".join(lines).removesuffix(b";")


def folded(value: bytes) -> bytes:
    """Base64 in lines of a width; the first one begins a line of its own."""
    return b"".join(b"\r\n\t" + value[start : start + _WIDTH] for start in range(0, len(value), _WIDTH))
