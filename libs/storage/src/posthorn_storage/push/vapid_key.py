"""The cluster's key for VAPID (RFC 8292), made when it is first asked for, sealed, and never changed."""

from dataclasses import dataclass, field
from typing import Final

from posthorn_storage.certificates.sealing import KeyRing
from posthorn_storage.database import Database

PUBLIC_OCTETS: Final = 65
UNCOMPRESSED: Final = 4
"""SEC 1, 2.3.3."""
ABOUT: Final = "vapid key"
GET: Final = "SELECT public_key, sealed_key FROM vapid_key WHERE id = 1"
PUT: Final = "INSERT INTO vapid_key (id, public_key, sealed_key) VALUES (1, $1, $2) ON CONFLICT (id) DO NOTHING"
RESEAL: Final = "UPDATE vapid_key SET sealed_key = $2 WHERE id = 1 AND sealed_key = $1"


@dataclass(frozen=True, slots=True)
class VapidKey:
    """A key of the curve P-256."""

    public: bytes
    """The point, uncompressed: 65 octets."""
    private: bytes = field(repr=False)
    """PKCS #8 in DER."""


async def vapid_key(database: Database, keys: KeyRing) -> VapidKey:
    """The key; made now if there is none. Raises SecretMissing, WrongSecret."""
    row = await database.fetchrow(GET)
    if row is None:
        made = _made()
        await database.execute(PUT, made.public, keys.seal(made.private, ABOUT))
        row = await database.fetchrow(GET)
        assert row is not None
    return VapidKey(row["public_key"], keys.open(row["sealed_key"], ABOUT))


async def reseal(database: Database, keys: KeyRing) -> int:
    """Seal it under the current secret; returns 1 when it was not. Raises WrongSecret."""
    row = await database.fetchrow(GET)
    if row is None or keys.is_current(row["sealed_key"]):
        return 0
    sealed = row["sealed_key"]
    return await database.execute(RESEAL, sealed, keys.seal(keys.open(sealed, ABOUT), ABOUT))


def is_point(octets: bytes) -> bool:
    """Whether these octets are an uncompressed point of P-256 (another one would give secrets away, RFC 8291 7)."""
    from cryptography.hazmat.primitives.asymmetric import ec

    if len(octets) != PUBLIC_OCTETS or octets[0] != UNCOMPRESSED:
        return False
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), octets)
    except ValueError:
        return False
    return True


def _made() -> VapidKey:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = ec.generate_private_key(ec.SECP256R1())
    return VapidKey(
        key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    )
