"""One exchange: which mechanisms there are, when each is offered, and the base64 that text protocols wrap them in."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from posthorn_sasl.bearer import oauthbearer, xoauth2
from posthorn_sasl.plain import login, plain
from posthorn_sasl.problems import Problem, SaslProblem
from posthorn_sasl.scram import scram
from posthorn_sasl.steps import Challenge, Mechanism, Step

MAX_RESPONSE: Final = 12_288
"""Octets of a response in base64 (RFC 4954 4)."""
MAX_INITIAL: Final = 12_288
CANCEL: Final = b"*"
EMPTY: Final = b"="
"""An initial response that is there and empty (RFC 4954 4, RFC 4959 3, RFC 5034 4)."""
TLS_SERVER_END_POINT: Final = "tls-server-end-point"
"""RFC 5929 4: a hash of the certificate that the server has shown."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What can be had on this connection. `bindings` by their registered names; `tokens`: somebody judges tokens."""

    bindings: Mapping[str, bytes] = field(default_factory=dict)
    tokens: bool = False


_MECHANISMS: Mapping[str, Callable[[Terms], Mechanism]] = {
    "SCRAM-SHA-256-PLUS": lambda terms: scram(terms.bindings, plus=True),
    "SCRAM-SHA-256": lambda terms: scram(terms.bindings, plus=False),
    "PLAIN": lambda _: plain(),
    "LOGIN": lambda _: login(),
    "OAUTHBEARER": lambda _: oauthbearer(),
    "XOAUTH2": lambda _: xoauth2(),
}
_WITH_TOKENS = frozenset({"OAUTHBEARER", "XOAUTH2"})


def offered(terms: Terms) -> Sequence[str]:
    """The mechanisms that work on these terms, the best first."""
    return [
        name
        for name in _MECHANISMS
        if (terms.tokens or name not in _WITH_TOKENS) and (terms.bindings or not name.endswith("-PLUS"))
    ]


class Exchange:
    """See the module; `mechanism` in upper case. Raises SaslProblem, also when it is made of what is not offered."""

    def __init__(self, mechanism: str, terms: Terms) -> None:
        if mechanism not in offered(terms):
            raise SaslProblem(Problem.MECHANISM)
        self._mechanism = _MECHANISMS[mechanism](terms)
        self._opening: Step | None = next(self._mechanism)

    def respond(self, line: bytes | None) -> Step | None:
        """The client's response in base64, None where it may give one and did not; None when all has been said.

        Raises SaslProblem, as all that follows a first problem.
        """
        opening, self._opening = self._opening, None
        if opening is None:
            return self.answer(decoded(line or b""))
        if line is None:
            return opening
        if opening != Challenge(b""):
            # LOGIN speaks first; what comes with the command answers its first question nevertheless, as clients do.
            return self.answer(decoded(line))
        return self.answer(b"" if line == EMPTY else decoded(line))

    def answer(self, answer: Any) -> Step | None:
        """What a step asked for that was no challenge: a verifier, or whether the claim is true."""
        try:
            return self._mechanism.send(answer)
        except StopIteration:
            return None


def decoded(line: bytes) -> bytes:
    """The octets of a response. Raises SaslProblem, also for "*"."""
    if line == CANCEL:
        raise SaslProblem(Problem.CANCELLED)
    if len(line) > MAX_RESPONSE:
        raise SaslProblem(Problem.TOO_LONG)
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error:
        raise SaslProblem(Problem.ENCODING) from None


def encoded(challenge: Challenge) -> str:
    """A challenge as it is sent."""
    return base64.b64encode(challenge.data).decode("ascii")
