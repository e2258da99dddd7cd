"""A private certificate authority for tests: chains that are right, and ones that are wrong in one way each."""

import datetime
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Identity:
    """A key and the certificates that are shown for it, the server's own first."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    chain: Sequence[x509.Certificate]

    @property
    def der(self) -> list[bytes]:
        return [each.public_bytes(serialization.Encoding.DER) for each in self.chain]

    def server(self, folder: Path, *, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """A context that shows the chain; `version` is the only one it speaks then."""
        path = folder / f"{self.chain[0].serial_number:x}.pem"
        form = serialization.PrivateFormat.PKCS8
        private = self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        path.write_bytes(private + b"".join(pem(each) for each in self.chain))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if version is not None:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = version
        context.load_cert_chain(path)
        return context


class Authority:
    """An authority that signs itself, or one below another."""

    def __init__(self, name: str = "test authority", issuer: Self | None = None, *, days: float = 90.0) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.issuer = issuer
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        made = _begun(self.name, issuer or self, self.key, days, 1.0)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        made = made.add_extension(usage, critical=True)
        self.certificate = made.sign((issuer or self).key, hashes.SHA256())

    @property
    def chain(self) -> list[x509.Certificate]:
        """This authority and those above it."""
        return [self.certificate, *(self.issuer.chain if self.issuer else [])]

    def issue(self, *names: str, days: float = 90.0, age: float = 1.0, chain: bool = True) -> Identity:
        """A certificate for these host names, made `age` days ago and valid for `days` from then on."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        made = _begun(subject, self, key, days, age)
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        return Identity(key, [made.sign(self.key, hashes.SHA256()), *(self.chain if chain else [])])

    def client(self) -> ssl.SSLContext:
        """A context that believes this authority and no other."""
        return ssl.create_default_context(cadata=pem(self.certificate).decode())


def self_signed(*names: str, days: float = 90.0, age: float = 1.0) -> Identity:
    """A certificate that nobody but its own key has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self-signed")])
    begun = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=age)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begun)
        .not_valid_after(begun + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    )
    return Identity(key, [made.sign(key, hashes.SHA256())])


def pem(certificate: x509.Certificate) -> bytes:
    """In PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _begun(
    subject: x509.Name, issuer: Authority, key: ec.EllipticCurvePrivateKey, days: float, age: float
) -> x509.CertificateBuilder:
    begun = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=age)
    issuing = x509.SubjectKeyIdentifier.from_public_key(issuer.key.public_key())
    return (
        x509.CertificateBuilder(issuer.name, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(begun)
        .not_valid_after(begun + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuing), critical=False)
    )
