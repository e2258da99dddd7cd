"""A real push service for tests (RFC 8030): takes pushes over HTTPS, and reads them as a client's device would.

It decrypts by RFC 8188 and 8291 and checks signatures by RFC 8292, written from the receiver's side. It can be told to
answer otherwise, or to keep silent. Not a product: it judges nothing else, and keeps everything in memory.
"""

import asyncio
import base64
import json
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from posthorn_testkit.certificates import certificate

CREATED = b"HTTP/1.1 201 Created\r\nLocation: /m/1\r\nContent-Length: 0\r\n\r\n"
SILENT = b""
"""Told as an answer: say nothing, until the client goes."""


def url64(octets: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def from_url64(text: str) -> bytes:
    """What base64url without padding says."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass(frozen=True, slots=True)
class Device:
    """A client's keys (RFC 8291 2)."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    auth: bytes = b"0123456789abcdef"

    @property
    def public(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    @property
    def keys(self) -> dict[str, str]:
        """As JMAP wants them (RFC 8620 7.2)."""
        return {"p256dh": url64(self.public), "auth": url64(self.auth)}

    def opened(self, body: bytes) -> bytes:
        """Decrypt one record of aes128gcm. Raises when anything about it is wrong."""
        salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
        sender, sealed = body[21 : 21 + length], body[21 + length :]
        assert len(body) <= size <= 4096
        shared = self.key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
        secret = _expanded(_mac(self.auth, shared), b"WebPush: info\0" + self.public + sender, 32)
        first = _mac(salt, secret)
        key = _expanded(first, b"Content-Encoding: aes128gcm\0", 16)
        nonce = _expanded(first, b"Content-Encoding: nonce\0", 12)
        plain, delimiter, padding = AESGCM(key).decrypt(nonce, sealed, None).rpartition(b"\x02")
        assert delimiter
        assert not padding.strip(b"\0")
        return plain


@dataclass(frozen=True, slots=True)
class TakenPush:
    """One request, with its fields in lower case."""

    path: str
    fields: Mapping[str, str]
    body: bytes

    def message(self, device: Device | None = None) -> Any:
        """The JSON in it, decrypted where a device is given."""
        return json.loads(self.body if device is None else device.opened(self.body))

    def claims(self, public: bytes) -> Any:
        """What is signed (RFC 8292 2), by this key. Raises InvalidSignature."""
        scheme, _, rest = self.fields["authorization"].partition(" ")
        parameters = dict(part.strip().split("=", 1) for part in rest.split(","))
        assert (scheme, from_url64(parameters["k"])) == ("vapid", public)
        signed, _, signature = parameters["t"].rpartition(".")
        head, _, claims = signed.partition(".")
        assert json.loads(from_url64(head)) == {"typ": "JWT", "alg": "ES256"}
        octets = from_url64(signature)
        pair = int.from_bytes(octets[:32], "big"), int.from_bytes(octets[32:], "big")
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
        key.verify(encode_dss_signature(*pair), signed.encode(), ec.ECDSA(hashes.SHA256()))
        return json.loads(from_url64(claims))


class PushService:
    """Use as `async with PushService(folder) as service`; `service.url` is where to push to, `service.ca` its PEM."""

    def __init__(self, folder: Path) -> None:
        self.pushes: list[TakenPush] = []
        self.answers: deque[bytes] = deque()
        """The next answers, whole; CREATED when there are none."""
        self.open = 0
        self.most_open = 0
        self.ca = folder / "push-service.pem"
        self._key = folder / "push-service-key.pem"
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    async def __aenter__(self) -> Self:
        chain, key = certificate()
        self.ca.write_text(chain)
        self._key.write_text(key)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.ca, self._key)
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=tls)
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def taken(self, test: Callable[[TakenPush], bool], seconds: float = 60.0) -> TakenPush:
        """The first push that passes, waited for. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: any(map(test, self.pushes)))
        return next(filter(test, self.pushes))

    async def count(self, number: int, seconds: float = 60.0) -> None:
        """Wait until there were so many pushes. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: len(self.pushes) >= number)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        assert method == "POST"
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(fields["content-length"]))
        answer = self.answers.popleft() if self.answers else CREATED
        async with self._changed:
            self.pushes.append(TakenPush(path, fields, body))
            self._changed.notify_all()
        if answer == SILENT:
            await reader.read()
        writer.write(answer)
        await writer.drain()


def _mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256: HKDF's extraction, and a step of its expansion."""
    mac = hmac.HMAC(key, hashes.SHA256())
    mac.update(data)
    return mac.finalize()


def _expanded(key: bytes, info: bytes, length: int) -> bytes:
    return _mac(key, info + b"\x01")[:length]
