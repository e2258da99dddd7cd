"""Signatures by which a push service knows who pushes (VAPID, RFC 8292): a JSON Web Token by ES256 (RFC 7515, 7518)."""

import base64
import json
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_private_key

from posthorn_storage.push import VapidKey

LIFETIME: Final = 12 * 3600
"""Seconds a token is good for: at most a day (RFC 8292 2), and clocks may differ."""
HEAD: Final = {"typ": "JWT", "alg": "ES256"}


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with one key, in the name of `contact`: a mailto: or https: URL."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    public: str
    contact: str

    def authorization(self, origin: str, now: float) -> str:
        """The Authorization field for a push to `origin` (scheme, host, port), in seconds since 1970 (RFC 8292 3)."""
        claims = {"aud": origin, "exp": int(now) + LIFETIME, "sub": self.contact}
        signed = f"{_part(HEAD)}.{_part(claims)}"
        r, s = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(SHA256())))
        signature = url64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        return f"vapid t={signed}.{signature}, k={self.public}"


def signer(key: VapidKey, contact: str) -> Signer:
    """Signs with the cluster's key."""
    private = load_der_private_key(key.private, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return Signer(private, url64(key.public), contact)


def url64(octets: bytes) -> str:
    """base64url without padding (RFC 7515 2)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _part(value: object) -> str:
    return url64(json.dumps(value, separators=(",", ":")).encode())
