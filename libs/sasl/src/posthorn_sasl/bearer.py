"""OAUTHBEARER (RFC 7628) and XOAUTH2: a token that somebody else has given out. Whose it is, the token says."""

import json
import re

from posthorn_sasl.plain import MAX_FIELD, text
from posthorn_sasl.problems import Problem, SaslProblem
from posthorn_sasl.steps import Challenge, Mechanism, TokenGiven

MAX_TOKEN = 8192
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_REFUSED = {"status": "invalid_token"}
_XREFUSED = {"status": "401", "schemes": "bearer"}


def oauthbearer() -> Mechanism:
    """RFC 7628 3.1: a GS2 header, then keys and values, each ended by %x01."""
    response: bytes = yield Challenge(b"")
    header, _, rest = response.partition(b"\x01")
    fields = text(header).split(",")
    if len(fields) != 3 or fields[2] or fields[0] not in ("n", "y"):
        raise SaslProblem(Problem.SYNTAX)
    if fields[1] and not fields[1].startswith("a="):
        raise SaslProblem(Problem.SYNTAX)
    login = fields[1][2:].replace("=2C", ",").replace("=3D", "=")
    accepted: bool = yield _claim(login, _pairs(rest).get("auth", ""))
    if not accepted:
        # RFC 7628 3.2.3: the client hears why and answers with %x01 before the exchange fails.
        yield Challenge(json.dumps(_REFUSED).encode())


def xoauth2() -> Mechanism:
    """The form before the RFC: "user=NAME^Aauth=Bearer TOKEN^A^A"."""
    response: bytes = yield Challenge(b"")
    pairs = _pairs(response)
    accepted: bool = yield _claim(pairs.get("user", ""), pairs.get("auth", ""))
    if not accepted:
        yield Challenge(json.dumps(_XREFUSED).encode())


def _pairs(octets: bytes) -> dict[str, str]:
    if not octets.endswith(b"\x01\x01"):
        raise SaslProblem(Problem.SYNTAX)
    pairs = {}
    for pair in text(octets[:-2]).split("\x01"):
        key, found, value = pair.partition("=")
        if not found or key in pairs:
            raise SaslProblem(Problem.SYNTAX)
        pairs[key] = value
    return pairs


def _claim(login: str, authorization: str) -> TokenGiven:
    """RFC 6750 2.1: "Bearer TOKEN"."""
    scheme, _, token = authorization.partition(" ")
    if len(token) > MAX_TOKEN or len(login) > MAX_FIELD:
        raise SaslProblem(Problem.TOO_LONG)
    if scheme.lower() != "bearer" or not _TOKEN.fullmatch(token) or "\0" in login:
        raise SaslProblem(Problem.SYNTAX)
    return TokenGiven(login, token)
