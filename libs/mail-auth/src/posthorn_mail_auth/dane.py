"""TLSA records and what they say of a certificate chain (RFC 6698, 7671), as SMTP uses them (RFC 7672). Pure.

Usages 2 (DANE-TA) and 3 (DANE-EE) count; 0 and 1 are unusable here (RFC 7672 3.1.3). Whether records may be believed is
the caller's to know: they must have come by DNSSEC.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import verification

MAX_CHAIN: Final = 10
"""Certificates of a chain that are looked at."""
MAX_DATA: Final = 16_384
"""Octets of a record that holds a whole certificate or key."""
TRUST_ANCHOR, END_ENTITY = 2, 3
_DIGESTS: Final = {1: "sha256", 2: "sha512"}


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One TLSA record, its numbers as in RFC 6698 2.1."""

    usage: int
    selector: int
    matching: int
    data: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


class Unauthentic(Exception):
    """A chain is not the one that the records speak of; the text says why, and is for everybody."""


def usable(records: Iterable[Tlsa]) -> Sequence[Tlsa]:
    """The records that can be matched, each once; where digests of one thing differ, the strongest (RFC 7671 9)."""
    known = list(dict.fromkeys(record for record in records if _known(record)))
    strongest: dict[tuple[int, int], int] = {}
    for record in known:
        kind = record.usage, record.selector
        strongest[kind] = max(record.matching, strongest.get(kind, 0))
    return [each for each in known if each.matching in (0, strongest[each.usage, each.selector])]


def authenticate(chain: Sequence[bytes], records: Sequence[Tlsa], names: Sequence[str], now: datetime) -> None:
    """Raise Unauthentic unless a usable record vouches for the chain, in DER with the server's certificate first.

    By DANE-EE the key or certificate is all that counts, neither names nor dates (RFC 7671 5.1). By DANE-TA the chain
    must lead to the authority, be valid `now`, and the certificate must be for one of `names` (RFC 7672 3.2.2).
    """
    if not chain:
        raise Unauthentic("the server showed no certificate")
    shown = [_read(each) for each in chain[:MAX_CHAIN]]
    if any(record.usage == END_ENTITY and _matches(record, shown[0]) for record in records):
        return
    authorities = list(islice(_authorities(records, shown), MAX_CHAIN))
    if not authorities:
        raise Unauthentic("no TLSA record matches what the server showed")
    problems = []
    for authority in authorities:
        for name in names:
            problem = _refusal(shown, authority, name, now)
            if not problem:
                return
            problems.append(problem)
    raise Unauthentic(f"what the authority in the TLSA record vouches for is something else: {problems[0]}"[:300])


def _known(record: Tlsa) -> bool:
    if record.usage not in (TRUST_ANCHOR, END_ENTITY) or record.selector not in (0, 1):
        return False
    if record.matching == 0:
        return 0 < len(record.data) <= MAX_DATA
    digest = _DIGESTS.get(record.matching)
    return digest is not None and len(record.data) == hashlib.new(digest).digest_size


def _read(octets: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(octets)
        certificate.public_key()
    except Exception as error:  # what a hostile server may put in it is more than the library documents
        raise Unauthentic("the server showed a certificate that cannot be read") from error
    return certificate


def _matches(record: Tlsa, certificate: x509.Certificate) -> bool:
    if record.selector == 0:
        selected = certificate.public_bytes(Encoding.DER)
    else:
        selected = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if record.matching:
        selected = hashlib.new(_DIGESTS[record.matching], selected).digest()
    return selected == record.data


def _authorities(records: Sequence[Tlsa], shown: Sequence[x509.Certificate]) -> Iterable[x509.Certificate]:
    """Certificates that DANE-TA records name: among those shown, or in the record itself (RFC 7671 5.2)."""
    for record in records:
        if record.usage != TRUST_ANCHOR:
            continue
        yield from (each for each in shown if _matches(record, each))
        if (record.selector, record.matching) == (0, 0):
            try:
                yield _read(record.data)
            except Unauthentic:
                continue


def _refusal(shown: Sequence[x509.Certificate], authority: x509.Certificate, name: str, now: datetime) -> str:
    """Why the chain does not lead from `name` to the authority; "" when it does."""
    try:
        verifier = (
            verification.PolicyBuilder()
            .store(verification.Store([authority]))
            .time(now)
            .max_chain_depth(MAX_CHAIN)
            .extension_policies(ca_policy=_ISSUER, ee_policy=_SERVER)
            .build_server_verifier(x509.DNSName(name))
        )
        verifier.verify(shown[0], list(shown[1:]))
    except verification.VerificationError as error:
        return str(error).partition(" (encountered processing")[0]
    except ValueError as error:  # a name that is none
        return str(error)
    return ""


def _may_issue(
    _policy: verification.Policy, _certificate: x509.Certificate, constraints: x509.BasicConstraints
) -> None:
    if not constraints.ca:
        raise ValueError("not the certificate of an authority")


def _may_sign(_policy: verification.Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("the key of an authority may not sign certificates")


# Private authorities leave out what those of the web must have, so only what protects is asked for (RFC 5280 6.1.4).
_ISSUER: Final = (
    verification.ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, _may_issue)
    .may_be_present(x509.KeyUsage, verification.Criticality.AGNOSTIC, _may_sign)
)
_SERVER: Final = verification.ExtensionPolicy.permit_all().require_present(
    x509.SubjectAlternativeName, verification.Criticality.AGNOSTIC, None
)
