"""Keys of DKIM: the record in DNS (RFC 6376 3.6.1, 8301, 8463), and checking with what it holds."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import cast

from cryptography.exceptions import InvalidSignature as Mismatch
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from posthorn_mail_auth.remembering import remembering
from posthorn_mail_auth.tags import MalformedTags, parse_tags, without_space

MIN_RSA = 1024
"""Bits; RFC 8301 3.2: verifiers must not take less as valid."""
MAX_RSA = 4096
"""Bits; RFC 8301 3.2 asks for so many, and more would cost time at a stranger's will."""
MAX_EXPONENT = 1 << 33
KEY_KINDS = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}
"""Algorithm of a signature to k= of its key. rsa-sha1 is not among them (RFC 8301 3.1)."""
_PADDING = PKCS1v15()
_PREHASHED = Prehashed(SHA256())


class InvalidKey(ValueError):
    """The record holds no usable key; its message says why, in words for a result."""


class WeakKey(InvalidKey):
    """A key that RFC 8301 forbids to trust."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that was published."""

    kind: str
    """"rsa" or "ed25519"."""
    bits: int
    key: RSAPublicKey | Ed25519PublicKey
    testing: bool = False
    """t=y: the domain tries DKIM out."""
    exact: bool = False
    """t=s: i= may not be a subdomain."""

    def verifies(self, signature: bytes, octets: bytes) -> bool:
        """Whether the signature is that of the octets by this key."""
        digest = hashlib.sha256(octets).digest()
        try:
            if self.kind == "rsa":
                cast(RSAPublicKey, self.key).verify(signature, digest, _PADDING, _PREHASHED)
            else:
                cast(Ed25519PublicKey, self.key).verify(signature, digest)  # RFC 8463 3: the digest is what is signed
        except Mismatch:
            return False
        return True


@remembering
def parse_key(record: bytes) -> PublicKey:
    """Read a key record; raises InvalidKey, WeakKey."""
    try:
        tags = parse_tags(record)
    except MalformedTags as error:
        raise InvalidKey(f"key record: {error}") from None
    if "v" in tags and (tags["v"] != "DKIM1" or next(iter(tags)) != "v"):
        raise InvalidKey("key record: unknown version")
    if "p" not in tags:
        raise InvalidKey("key record: no key in it")
    if "h" in tags and "sha256" not in _words(tags["h"]):
        raise InvalidKey("key record: sha256 is not allowed")
    if not {"*", "email"} & _words(tags.get("s", "*")):
        raise InvalidKey("key record: not for mail")
    kind = tags.get("k", "rsa").lower()
    if kind not in ("rsa", "ed25519"):
        raise InvalidKey("key record: unknown kind of key")
    if not tags["p"]:
        raise InvalidKey("the key was revoked")
    flags = _words(tags.get("t", ""))
    key, bits = _load(kind, without_space(tags["p"]))
    return PublicKey(kind, bits, key, testing="y" in flags, exact="s" in flags)


def _words(value: str) -> set[str]:
    return {word.strip(" \t\r\n").lower() for word in value.split(":")}


def _load(kind: str, text: str) -> tuple[RSAPublicKey | Ed25519PublicKey, int]:
    try:
        octets = base64.b64decode(text, validate=True)
        if kind == "ed25519":
            return Ed25519PublicKey.from_public_bytes(octets), 256
        key = load_der_public_key(octets)
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        raise InvalidKey("key record: the key cannot be read") from None
    if not isinstance(key, RSAPublicKey):
        raise InvalidKey("key record: the key is of another kind")
    if key.key_size < MIN_RSA:
        raise WeakKey(f"the key has {key.key_size} bits only")
    if key.key_size > MAX_RSA or key.public_numbers().e > MAX_EXPONENT:
        raise WeakKey("the key is larger than is checked")
    return key, key.key_size
