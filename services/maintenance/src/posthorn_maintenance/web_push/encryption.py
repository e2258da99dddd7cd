"""Encryption of a push (RFC 8291) as one record of aes128gcm (RFC 8188): only the client can read it."""

import os
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

RECORD_OCTETS: Final = 4096
SALT_OCTETS: Final = 16
OVERHEAD: Final = SALT_OCTETS + 4 + 1 + 65 + 1 + 16
"""Salt, record size, length of the key, key; delimiter and tag."""
MAX_PLAIN: Final = RECORD_OCTETS - OVERHEAD
"""Octets: a push service need not take more than 4096 (RFC 8030 7.2)."""
LAST_RECORD: Final = b"\x02"


def encrypted(
    plain: bytes,
    public: bytes,
    auth: bytes,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """The body of a push for the client whose public key and secret are given.

    `key` and `salt` are made anew for each push unless given. Raises ValueError when `plain` is too long, or `public`
    no point of the curve.
    """
    if len(plain) > MAX_PLAIN:
        raise ValueError(f"a push has at most {MAX_PLAIN} octets")
    key = key or ec.generate_private_key(ec.SECP256R1())
    salt = salt or os.urandom(SALT_OCTETS)
    ours = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    shared = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public))
    secret = HKDF(SHA256(), 32, auth, b"WebPush: info\0" + public + ours).derive(shared)
    content_key = HKDF(SHA256(), 16, salt, b"Content-Encoding: aes128gcm\0").derive(secret)
    nonce = HKDF(SHA256(), 12, salt, b"Content-Encoding: nonce\0").derive(secret)
    head = salt + RECORD_OCTETS.to_bytes(4, "big") + len(ours).to_bytes(1, "big") + ours
    return head + AESGCM(content_key).encrypt(nonce, plain + LAST_RECORD, None)
