"""The client of SCRAM-SHA-256 and -PLUS (RFC 5802), as tests need it: each message, right or wrong in one place."""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

NONCE = b"rOprNGfwEbeRWgbNEkqO"


@dataclass
class ScramClient:
    """`gs2` is the header, such as "n,," or "p=tls-server-end-point,,"; `binding` the octets it speaks of."""

    user: str
    password: str = field(repr=False)
    gs2: bytes = b"n,,"
    binding: bytes = b""
    nonce: bytes = NONCE

    def first(self) -> bytes:
        """What the client begins with."""
        return self.gs2 + self._bare

    def final(self, challenge: bytes) -> bytes:
        """Its answer to the server's salt and nonce."""
        fields = dict(part.split(b"=", 1) for part in challenge.split(b","))
        assert fields[b"r"].startswith(self.nonce)
        salt, iterations = base64.b64decode(fields[b"s"]), int(fields[b"i"])
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = b"c=" + base64.b64encode(self.gs2 + self.binding) + b",r=" + fields[b"r"]
        said = b",".join((self._bare, challenge, without_proof))
        signature = hmac.digest(hashlib.sha256(client_key).digest(), said, "sha256")
        proof = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
        self.expected = b"v=" + base64.b64encode(
            hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), said, "sha256")
        )
        """What the server must say in the end."""
        return without_proof + b",p=" + base64.b64encode(proof)

    @property
    def _bare(self) -> bytes:
        return b"n=" + self.user.replace("=", "=3D").replace(",", "=2C").encode() + b",r=" + self.nonce
