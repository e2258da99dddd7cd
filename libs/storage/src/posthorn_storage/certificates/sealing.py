"""Secrets at rest: sealed under a key that is made of a secret of the settings, so that the database gives none away.

A sealed value is a version octet, the first octets of the key's fingerprint, a nonce and AES-256-GCM's output, which
also vouches for what the value is about: a row put in another one's place cannot be opened (decision 0022). Secrets are
random text, not passwords: HKDF (RFC 5869) makes keys of them, and to guess them is no faster than to guess keys.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from posthorn_model.errors import SecretMissing, WrongSecret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION: Final = b"\x01"
FINGERPRINT_OCTETS: Final = 8
NONCE_OCTETS: Final = 12
TAG_OCTETS: Final = 16
_HEAD: Final = len(VERSION) + FINGERPRINT_OCTETS
_SALT: Final = b"posthorn stored secrets 1"


@dataclass(frozen=True, slots=True)
class _Key:
    fingerprint: bytes
    """Tells keys apart; tells nothing of the key."""
    cipher: "AESGCM" = field(repr=False)


class KeyRing:
    """Seals under the first of `secrets`, opens what any of them sealed. Without secrets it can do neither."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [_key(secret) for secret in secrets if secret]

    @property
    def usable(self) -> bool:
        """Whether anything can be sealed."""
        return bool(self._keys)

    def seal(self, plain: bytes, about: str) -> bytes:
        """Encrypt; only who says the same `about` can open it. Raises SecretMissing."""
        if not self._keys:
            raise SecretMissing
        key, nonce = self._keys[0], os.urandom(NONCE_OCTETS)
        head = VERSION + key.fingerprint
        return head + nonce + key.cipher.encrypt(nonce, plain, head + about.encode())

    def open(self, sealed: bytes, about: str) -> bytes:
        """Decrypt. Raises SecretMissing without any secret, WrongSecret when none of them opens it."""
        from cryptography.exceptions import InvalidTag

        if not self._keys:
            raise SecretMissing
        key = next((each for each in self._keys if sealed[:_HEAD] == VERSION + each.fingerprint), None)
        if key is None:
            raise WrongSecret(about=about)
        nonce, rest = sealed[_HEAD : _HEAD + NONCE_OCTETS], sealed[_HEAD + NONCE_OCTETS :]
        if len(rest) < TAG_OCTETS:
            raise WrongSecret("what is stored is damaged", about=about)
        try:
            return key.cipher.decrypt(nonce, rest, sealed[:_HEAD] + about.encode())
        except InvalidTag:
            raise WrongSecret("what is stored is damaged, or was put in another one's place", about=about) from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether it is sealed under the first secret."""
        return bool(self._keys) and sealed[:_HEAD] == VERSION + self._keys[0].fingerprint


def _key(secret: str) -> _Key:
    # Imported late: most processes that open a storage never seal anything.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    def made(length: int, info: bytes) -> bytes:
        return HKDF(SHA256(), length, _SALT, info).derive(secret.encode())

    return _Key(made(FINGERPRINT_OCTETS, b"fingerprint"), AESGCM(made(32, b"aes-256-gcm")))
