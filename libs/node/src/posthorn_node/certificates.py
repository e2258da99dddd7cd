"""A certificate with its key as a process serves it, and which one a client is shown. It reads no files."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from posthorn_node.errors import TlsError

MAX_PEM = 1 << 20
"""Octets of a chain, or of a key."""
MAX_CHAIN = 20
"""Certificates."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A chain in PEM, the server's own certificate first, and its key in PEM, not encrypted."""

    name: str
    """What the operator calls it."""
    chain: bytes
    key: bytes = field(repr=False)
    names: frozenset[str]
    """Host names it is shown for, in lower case; the first label may be "*"."""
    issuer: str
    not_before: float
    """Seconds since 1970, like `not_after`."""
    not_after: float
    default: bool = False
    """Shown to clients that name no host, or one that no certificate is for."""
    end_point: bytes = b""
    """What a login is bound to (RFC 5929 4.1): the certificate's hash; b"" where no hash is laid down for it."""


def parsed(name: str, chain: bytes, key: bytes, *, names: Iterable[str] = (), default: bool = False) -> Certificate:
    """The certificate of a chain and its key; `names` stands for those that the certificate has.

    Raises TlsError when one cannot be read or they do not fit; its text holds nothing of the key.
    """
    if len(chain) > MAX_PEM or len(key) > MAX_PEM:
        raise TlsError(f"larger than {MAX_PEM} octets")
    try:
        found = x509.load_pem_x509_certificates(chain)
    except ValueError:
        raise TlsError("there is no certificate in PEM form") from None
    try:
        private = load_pem_private_key(key, password=None)
    except TypeError:
        raise TlsError("the key is encrypted: remove its password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise TlsError("there is no private key in PEM form that can be used") from None
    if len(found) > MAX_CHAIN:
        raise TlsError(f"more than {MAX_CHAIN} certificates in one chain")
    leaf = found[0]
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        fits = leaf.public_key().public_bytes(*form) == private.public_key().public_bytes(*form)
    except (ValueError, UnsupportedAlgorithm):
        raise TlsError("the certificate's kind of key cannot be used") from None
    if not fits:
        raise TlsError("the key is not the one of the certificate")
    return Certificate(
        name=name,
        # Written anew: what is read may be one file that has both, and a chain goes where a key must not.
        chain=b"".join(each.public_bytes(Encoding.PEM) for each in found),
        key=private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        names=frozenset(each.lower().rstrip(".") for each in names) or _names(leaf),
        issuer=_issuer(leaf),
        not_before=leaf.not_valid_before_utc.timestamp(),
        not_after=leaf.not_valid_after_utc.timestamp(),
        default=default,
        end_point=_end_point(leaf),
    )


def _end_point(leaf: x509.Certificate) -> bytes:
    """RFC 5929 4.1: by the hash of its signature, SHA-256 instead of broken ones; EdDSA names none."""
    try:
        used = leaf.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return b""
    if used is None:
        return b""
    return leaf.fingerprint(hashes.SHA256() if isinstance(used, hashes.MD5 | hashes.SHA1) else used)


def _names(leaf: x509.Certificate) -> frozenset[str]:
    """The host names of a certificate: RFC 9525 6.3 takes them from the extension alone."""
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    return frozenset(each.lower().rstrip(".") for each in extension.value.get_values_for_type(x509.DNSName))


def _issuer(leaf: x509.Certificate) -> str:
    """Its issuer's common name, or organization, for people."""
    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        if found := leaf.issuer.get_attributes_for_oid(kind):
            return str(found[0].value)[:200]
    return leaf.issuer.rfc4514_string()[:200]


@dataclass(frozen=True, slots=True)
class Chooser:
    """Which certificate is for which name."""

    default: Certificate
    by_name: Mapping[str, Certificate]

    def choose(self, name: str | None) -> Certificate:
        """The certificate for the host that a client asks for (RFC 6066 3), None when it asked for none.

        The very name comes before one with "*", which stands for one label (RFC 9525 6.3).
        """
        asked = (name or "").lower().rstrip(".")
        _, _, parent = asked.partition(".")
        return self.by_name.get(asked) or self.by_name.get(f"*.{parent}") or self.default


def chooser(certificates: Iterable[Certificate], hostname: str) -> Chooser:
    """The choice among at least one certificate; of several for a name the one that is valid longest.

    The default is the one marked so, or else the one for `hostname`, or else the first.
    """
    known = list(certificates)
    by_name: dict[str, Certificate] = {}
    for each in sorted(known, key=_lasting):
        by_name.update(dict.fromkeys(each.names, each))
    own = Chooser(known[0], by_name).choose(hostname)
    return Chooser(max((each for each in known if each.default), key=_lasting, default=own), by_name)


def _lasting(certificate: Certificate) -> float:
    return certificate.not_after
