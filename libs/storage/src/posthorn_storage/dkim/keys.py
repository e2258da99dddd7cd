"""Key pairs for DKIM and the TXT records that publish them. It neither stores nor signs anything."""

import base64
import re
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from posthorn_model.errors import InvalidContent, InvalidName

Algorithm: TypeAlias = Literal["rsa", "ed25519"]
"""The word of the record's k= tag (RFC 6376 3.6.1, RFC 8463 3)."""

RSA_BITS: Final = 2048
"""RFC 8301 3.2: verifiers take 1024 to 4096; longer records than those of 2048 do not fit every DNS provider."""
LEAST_BITS, MOST_BITS = 1024, 4096
MAX_PEM: Final = 16_384
_SELECTOR = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?){0,3}")


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key pair."""

    algorithm: Algorithm
    pem: bytes = field(repr=False)
    """PKCS #8, not encrypted."""
    public: str
    """As the p= tag has it: base64 of SubjectPublicKeyInfo, or of the 32 octets of Ed25519 (RFC 8463 4)."""


def made(algorithm: Algorithm) -> PrivateKey:
    """A new key pair. RSA takes a tenth of a second: use a thread."""
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    if algorithm == "rsa":
        return _pair(rsa.generate_private_key(65537, RSA_BITS))
    return _pair(ed25519.Ed25519PrivateKey.generate())


def imported(pem: bytes) -> PrivateKey:
    """A key pair from a PEM file of its private key. Raises InvalidContent."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if len(pem) > MAX_PEM:
        raise InvalidContent("that is too long for a private key in PEM")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidContent("that is not a private key in PEM, or it is encrypted") from None
    return _pair(key)


def _pair(key: object) -> PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    if isinstance(key, RSAPrivateKey):
        if not LEAST_BITS <= key.key_size <= MOST_BITS:
            raise InvalidContent(f"an RSA key has {LEAST_BITS} to {MOST_BITS} bits, not {key.key_size}")
        algorithm: Algorithm = "rsa"
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    elif isinstance(key, Ed25519PrivateKey):
        algorithm, public = "ed25519", key.public_key().public_bytes_raw()
    else:
        raise InvalidContent("DKIM knows RSA and Ed25519 keys, and that is another one")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return PrivateKey(algorithm, pem, base64.b64encode(public).decode("ascii"))


def selector_key(name: str) -> str:
    """The stored form of a selector: lower case labels (RFC 6376 3.1). Raises InvalidName."""
    lower = name.lower()
    if not _SELECTOR.fullmatch(lower) or len(lower) > 63:
        raise InvalidName(
            "a selector has 1 to 63 letters, digits and hyphens, with dots between labels", selector=name[:100]
        )
    return lower


def record_name(domain: str, selector: str) -> str:
    """Where the record of a key is (RFC 6376 3.6.2.1)."""
    return f"{selector}._domainkey.{domain}"


def record_text(algorithm: Algorithm, public: str) -> str:
    """The text of the record, in one piece: TXT records hold it in strings of at most 255 octets."""
    return f"v=DKIM1; k={algorithm}; p={public}"
