"""Makes self-signed certificates: the one that serves until there is a real one, and those that answer a challenge."""

import datetime
import fcntl
import hashlib
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from posthorn_node.certificates import Certificate, parsed
from posthorn_node.errors import TlsError

LIFETIME = datetime.timedelta(days=825)
RENEW_BEFORE = datetime.timedelta(days=30)
ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
"""RFC 8737 6.1."""


def self_signed(folder: Path, hostname: str) -> Path:
    """The PEM file (key, then certificate; mode 0600) for `hostname` in `folder`.

    It is made when missing, soon to expire or of another name.
    Several processes of a node may call it at once: a lock file lets one make it. Raises TlsError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            path = folder / "self-signed.pem"
            if not _usable(path, hostname):
                _write(path, _made(hostname))
            return path
    except OSError as error:
        place = error.filename or folder
        raise TlsError(
            f"cannot keep a self-signed certificate at {place}: {error.strerror}; make server.data a folder that this "
            "user may write, or name server.tls.certificate and server.tls.private-key"
        ) from error


def for_challenge(name: str, authorization: str) -> Certificate:
    """The certificate by which `name` answers tls-alpn-01 (RFC 8737 3), holding the key authorization's hash."""
    digest = hashlib.sha256(authorization.encode()).digest()
    octet_string = b"\x04" + bytes([len(digest)]) + digest  # X.690 8.7
    pem = _signed([x509.DNSName(name)], x509.UnrecognizedExtension(ACME_IDENTIFIER, octet_string))
    return parsed("challenge", pem, pem)


def _usable(path: Path, hostname: str) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, x509.ExtensionNotFound):
        return False
    known = {str(name.value) for name in names}
    return hostname in known and certificate.not_valid_after_utc - RENEW_BEFORE > datetime.datetime.now(datetime.UTC)


def _made(hostname: str) -> bytes:
    names: list[x509.GeneralName] = [_general(text) for text in dict.fromkeys([hostname, "localhost"])]
    names += [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1") if text != hostname]
    return _signed(names)


def _signed(names: list[x509.GeneralName], critical: x509.ExtensionType | None = None) -> bytes:
    """Key and certificate in PEM, for these names, the first of which is its subject."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(names[0].value)[:64])])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if critical is not None:
        made = made.add_extension(critical, critical=True)
    certificate = made.sign(key, hashes.SHA256())
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, data: bytes) -> None:
    """Replace the file in one step, never readable by others."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
