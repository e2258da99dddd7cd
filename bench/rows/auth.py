"""Who sent a message: DKIM signed and verified, and SPF; beside the bare work of OpenSSL that none of it can avoid.

DNS answers at once and from memory, as a cache does: its time is not ours.
"""

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.rows.mime import some_text
from bench.runner import Row
from posthorn_mail_auth.dkim.signing import SigningKey, sign
from posthorn_mail_auth.dkim.verifying import verify
from posthorn_mail_auth.message import split
from posthorn_mail_auth.spf.checking import check
from posthorn_model.resolving import Answer, MailExchanger, Outcome

_RSA = generate_private_key(65537, 2048)
_ED25519 = Ed25519PrivateKey.generate()
_DER = _RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
_RECORDS = {
    "r._domainkey.example.org": b"v=DKIM1; p=" + base64.b64encode(_DER),
    "e._domainkey.example.org": b"k=ed25519; p=" + base64.b64encode(_ED25519.public_key().public_bytes_raw()),
    "example.org": b"v=spf1 a mx include:_spf.example.org -all",
    "_spf.example.org": b"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all",
}
_HEADER = (
    b"From: ann@example.org\r\nTo: bob@example.net\r\nSubject: hello\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700\r\n"
    + (b"Message-ID: <one@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
)


class _Records:
    """The resolver port over records in memory."""

    async def texts(self, name: str) -> Answer[bytes]:
        found = _RECORDS.get(name)
        return Answer(Outcome.NO_NAME) if found is None else Answer(Outcome.RECORDS, (found,))

    async def ipv4(self, name: str) -> Answer[IPv4Address]:
        return Answer(Outcome.RECORDS, (IPv4Address("198.51.100.1"),))

    async def ipv6(self, name: str) -> Answer[IPv6Address]:
        return Answer(Outcome.NO_DATA)

    async def exchangers(self, name: str) -> Answer[MailExchanger]:
        return Answer(Outcome.RECORDS, (MailExchanger(10, "mx.example.org"),))

    async def names_of(self, address: IPv4Address | IPv6Address) -> Answer[str]:
        return Answer(Outcome.NO_NAME)


def _fastest(work: Callable[[], object]) -> float:
    """Milliseconds of the fastest of many calls: what others do on the machine only adds."""
    taken = []
    for _ in range(200):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return min(taken) * 1000


def rows() -> list[Row]:
    """Signing and verifying a message of 50 KB with both kinds of keys, and a check of SPF with three lookups."""
    content = _HEADER + some_text(50_000)
    body = content[len(_HEADER) :]

    def signing(name: str, key: SigningKey, bare: Callable[[], object]) -> list[Row]:
        signed = sign(content, [key], at=1) + content
        loop = asyncio.new_event_loop()

        async def write() -> float:
            return _fastest(lambda: sign(content, [key], at=1))

        async def read() -> float:
            def once() -> None:
                loop.run_until_complete(verify(split(signed), _Records(), now=2))

            return await asyncio.to_thread(_fastest, once)

        async def openssl() -> float:
            return _fastest(lambda: (hashlib.sha256(body).digest(), bare()))

        return [
            Row(f"DKIM: {name} signature on 50 KB", "ms", False, write, openssl, "SHA-256 and the signature alone"),
            Row(f"DKIM: {name} signature on 50 KB verified", "ms", False, read, None, ""),
        ]

    async def spf() -> float:
        loop = asyncio.new_event_loop()

        def once() -> None:
            asked = check(_Records(), address="192.0.2.1", sender="ann@example.org", hello="mx.example.org")
            loop.run_until_complete(asked)

        return await asyncio.to_thread(_fastest, once)

    return [
        *signing("RSA-2048", SigningKey("example.org", "r", _RSA), lambda: _RSA.sign(b"x", PKCS1v15(), SHA256())),
        *signing("Ed25519", SigningKey("example.org", "e", _ED25519), lambda: _ED25519.sign(b"x" * 32)),
        Row("SPF: a, mx and include, records at hand", "ms", False, spf, None, ""),
    ]
