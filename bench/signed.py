"""Messages that pass every check on who sent them, and the DNS that says so: real packets from this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from posthorn_mail_auth.dkim.signing import SigningKey, sign
from posthorn_testkit.dns import DnsServer

DOMAIN = "example.net"
LINE = b"The quick brown fox jumps over the lazy dog, again and again.\r\n"
SETTINGS = """
[resolver]
servers = ["{address}"]
[smtp-in.auth]
exempt-networks = []
"""
"""Who sends from this machine is judged too."""


def signing_key() -> SigningKey:
    """A key as most domains have: RSA with 2,048 bits."""
    return SigningKey(DOMAIN, "bench", rsa.generate_private_key(public_exponent=65537, key_size=2048))


def dns_server(key: SigningKey) -> DnsServer:
    """Says that mail from this machine, signed by `key`, is of the domain. Use it with `async with`."""
    public = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = "".join(public.decode("ascii").splitlines()[1:-1])
    return DnsServer(
        {
            DOMAIN: {"TXT": ['"v=spf1 ip4:127.0.0.0/8 -all"'], "A": ["127.0.0.1"]},
            f"_dmarc.{DOMAIN}": {"TXT": ['"v=DMARC1; p=reject"']},
            f"bench._domainkey.{DOMAIN}": {"TXT": [f'"v=DKIM1; k=rsa; p={text[:200]}" "{text[200:]}"']},
            "1.0.0.127.in-addr.arpa": {"PTR": [f"{DOMAIN}."]},
        }
    )


@contextmanager
def signed_messages(key: SigningKey, size: int, count: int) -> Iterator[tuple[Path, ...]]:
    """Files for smtp-source, each a signed message of its own, while the block lasts."""
    with TemporaryDirectory(prefix="bench-signed-") as name:
        made = []
        for number in range(count):
            head = (
                f"From: Sender <sender@{DOMAIN}>\r\nTo: u{number}@example.org\r\nSubject: number {number}\r\n"
                f"Date: {formatdate()}\r\nMessage-ID: <{time()}.{number}@{DOMAIN}>\r\n\r\n"
            )
            message = head.encode() + LINE * (size // len(LINE))
            made.append(Path(name) / f"{number}")
            # smtp-source makes the line ends itself.
            made[-1].write_bytes((sign(message, [key], at=int(time())) + message).replace(b"\r\n", b"\n"))
        yield tuple(made)
