"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): the client proves that it knows the password.

With -PLUS the proof is bound to the TLS connection it is given on: nobody in the middle can pass it on.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from posthorn_sasl.plain import MAX_FIELD, text
from posthorn_sasl.preparation import prepared
from posthorn_sasl.problems import Problem, SaslProblem
from posthorn_sasl.steps import Challenge, Mechanism, ProofGiven, VerifierWanted
from posthorn_sasl.verifiers import Verifier

NONCE_OCTETS = 18
MAX_NONCE = 256
MAX_MESSAGE = 4096
_NONCE = re.compile(rb"[\x21-\x2b\x2d-\x7e]+")
_NAME = re.compile(r"(?:[^=,\x00]|=2C|=3D)+")

Nonce = Callable[[], bytes]


def new_nonce() -> bytes:
    """The server's part of the nonce: printable, without a comma."""
    return base64.b64encode(secrets.token_bytes(NONCE_OCTETS))


@dataclass(frozen=True, slots=True)
class First:
    """The client's first message: `header` is its part about channel binding, `bare` the rest."""

    header: bytes
    bare: bytes
    login: str
    nonce: bytes
    binding: bytes
    """The octets of this connection that it says it is bound to."""


def scram(bindings: Mapping[str, bytes], *, plus: bool, nonce: Nonce = new_nonce) -> Mechanism:
    """`bindings` is what this connection can be bound to, by the names of the IANA registry; `plus`: it must be."""
    first = read_first((yield Challenge(b"")), bindings, plus=plus)
    verifier: Verifier = yield VerifierWanted(first.login)
    both = first.nonce + nonce()
    salted = b"r=%b,s=%b,i=%d" % (both, base64.b64encode(verifier.salt), verifier.iterations)
    last: bytes = yield Challenge(salted)
    without_proof, proof = read_final(last, first, both)
    said = b",".join((first.bare, salted, without_proof))
    accepted: bool = yield ProofGiven(first.login, verifier.proves(said, proof))
    if accepted:
        yield Challenge(b"v=" + base64.b64encode(verifier.signature(said)))


def read_first(message: bytes, bindings: Mapping[str, bytes], *, plus: bool) -> First:
    """The client's first message (RFC 5802 7, client-first-message). Raises SaslProblem."""
    if len(message) > MAX_MESSAGE:
        raise SaslProblem(Problem.TOO_LONG)
    fields = message.split(b",")
    # A fourth field before the name would be an extension that must be understood (RFC 5802 5.1, "m").
    if len(fields) < 4 or not fields[2].startswith(b"n=") or not fields[3].startswith(b"r="):
        raise SaslProblem(Problem.SYNTAX)
    login = _name(fields[2][2:])
    nonce = fields[3][2:]
    if not _NONCE.fullmatch(nonce) or len(nonce) > MAX_NONCE:
        raise SaslProblem(Problem.SYNTAX)
    # An empty identity is against the grammar, and what GNU SASL sends for none.
    if fields[1] not in (b"", b"a=") and (not fields[1].startswith(b"a=") or _name(fields[1][2:]) != login):
        raise SaslProblem(Problem.IDENTITY)
    binding = _binding(fields[0], bindings, plus=plus)
    return First(b",".join(fields[:2]) + b",", b",".join(fields[2:]), login, nonce, binding)


def read_final(message: bytes, first: First, nonce: bytes) -> tuple[bytes, bytes]:
    """The client's last message: what comes before its proof, and the proof. Raises SaslProblem."""
    if len(message) > MAX_MESSAGE:
        raise SaslProblem(Problem.TOO_LONG)
    without_proof, found, proof = message.rpartition(b",p=")
    fields = without_proof.split(b",")
    if not found or len(fields) < 2 or not fields[0].startswith(b"c=") or fields[1] != b"r=" + nonce:
        raise SaslProblem(Problem.SYNTAX)
    if _decoded(fields[0][2:]) != first.header + first.binding:
        raise SaslProblem(Problem.BINDING)
    return without_proof, _decoded(proof)


def _binding(flag: bytes, bindings: Mapping[str, bytes], *, plus: bool) -> bytes:
    """The octets that the client says it bound itself to (RFC 5802 6). Raises SaslProblem."""
    kind, _, name = flag.partition(b"=")
    if kind not in (b"n", b"y", b"p") or (kind == b"p") != bool(name):
        raise SaslProblem(Problem.SYNTAX)
    if plus != (kind == b"p"):
        raise SaslProblem(Problem.BINDING)
    if kind == b"y" and bindings:
        raise SaslProblem(Problem.BINDING)  # somebody took -PLUS out of what the client was offered
    if not plus:
        return b""
    try:
        return bindings[name.decode("ascii", "replace")]
    except KeyError:
        raise SaslProblem(Problem.BINDING) from None


def _name(field: bytes) -> str:
    raw = text(field)
    if len(raw) > MAX_FIELD:
        raise SaslProblem(Problem.TOO_LONG)
    if not _NAME.fullmatch(raw):
        raise SaslProblem(Problem.SYNTAX)
    name = prepared(raw.replace("=2C", ",").replace("=3D", "="))
    if not name:
        raise SaslProblem(Problem.SYNTAX)
    return name


def _decoded(octets: bytes) -> bytes:
    try:
        return base64.b64decode(octets, validate=True)
    except binascii.Error:
        raise SaslProblem(Problem.SYNTAX) from None
