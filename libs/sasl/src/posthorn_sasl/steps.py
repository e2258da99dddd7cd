"""What mechanisms are made of: a mechanism is a generator that yields steps and is sent what each of them asks for."""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Challenge:
    """Octets for the client; answered with the octets of its response."""

    data: bytes


@dataclass(frozen=True, slots=True)
class VerifierWanted:
    """Answered with the verifier of who is claimed to log in, or one of nobody."""

    login: str


@dataclass(frozen=True, slots=True)
class PasswordGiven:
    """A claim. Every claim is answered with whether it is true."""

    login: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProofGiven:
    """A claim that was checked against the verifier; what is left to judge is whether such a login is taken now."""

    login: str
    fits: bool


@dataclass(frozen=True, slots=True)
class TokenGiven:
    """A claim; `login` is "" when the client leaves it to the token whose it is."""

    login: str
    token: str = field(repr=False)


Claim: TypeAlias = PasswordGiven | ProofGiven | TokenGiven
Step: TypeAlias = Challenge | VerifierWanted | Claim
Mechanism: TypeAlias = Generator[Step, Any, None]
"""Ends when there is nothing more to say. The first thing it yields is a challenge. Raises SaslProblem."""
