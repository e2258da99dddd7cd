"""SCRAM verifiers (RFC 5802 3, RFC 7677): what a server keeps, with which it can check a password and not tell it."""

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Final

from posthorn_sasl.preparation import password_form

SCHEME: Final = "SCRAM-SHA-256"
ITERATIONS: Final = 32_768
"""RFC 7677 4 asks for 4,096 at least. A client pays them at each login (some 10 ms), a thief at each guess."""
SALT_OCTETS: Final = 16
MAX_ITERATIONS: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Verifier:
    """What belongs to one password. `text` is its stored form (RFC 5803)."""

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """As `read_verifier` takes it."""
        keys = f"{_base64(self.stored_key)}:{_base64(self.server_key)}"
        return f"{SCHEME}${self.iterations}:{_base64(self.salt)}${keys}"

    def proves(self, said: bytes, proof: bytes) -> bool:
        """Whether `proof` is that of somebody who knows the password; `said` is the AuthMessage of the exchange."""
        signature = _hmac(self.stored_key, said)
        if len(proof) != len(signature):
            return False
        client_key = bytes(one ^ other for one, other in zip(proof, signature, strict=True))
        return hmac.compare_digest(hashlib.sha256(client_key).digest(), self.stored_key)

    def signature(self, said: bytes) -> bytes:
        """What shows the client that the server has this verifier."""
        return _hmac(self.server_key, said)


def derive(password: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> Verifier:
    """The verifier of a password, with a salt of its own unless one is given. Takes some 10 ms of a core."""
    salt = secrets.token_bytes(SALT_OCTETS) if salt is None else salt
    form = password_form(password).encode(errors="surrogatepass")
    salted = hashlib.pbkdf2_hmac("sha256", form, salt, iterations)
    stored_key = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    return Verifier(salt, iterations, stored_key, _hmac(salted, b"Server Key"))


def read_verifier(text: str) -> Verifier:
    """From the stored form. Raises ValueError."""
    scheme, settings, keys = text.split("$")
    count, salt = settings.split(":")
    stored_key, server_key = keys.split(":")
    iterations = int(count)
    if scheme != SCHEME or not 1 <= iterations <= MAX_ITERATIONS:
        raise ValueError("no verifier of SCRAM-SHA-256")
    try:
        octets = [base64.b64decode(each, validate=True) for each in (salt, stored_key, server_key)]
    except binascii.Error as error:
        raise ValueError("no verifier of SCRAM-SHA-256") from error
    return Verifier(octets[0], iterations, octets[1], octets[2])


def nobody(secret: bytes, login: str) -> Verifier:
    """A verifier for who has none: the same salt each time it is asked for, on every node, and no password fits it.

    `secret` is the cluster's own: who has it can tell such a salt from a real one.
    """
    salt, stored_key, server_key = (
        _hmac(secret, purpose + login.encode(errors="surrogatepass")) for purpose in (b"salt:", b"stored:", b"server:")
    )
    return Verifier(salt[:SALT_OCTETS], ITERATIONS, stored_key, server_key)


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
