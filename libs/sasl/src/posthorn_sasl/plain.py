"""PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login): name and password as they are."""

from posthorn_sasl.problems import Problem, SaslProblem
from posthorn_sasl.steps import Challenge, Mechanism, PasswordGiven

MAX_FIELD = 1024


def plain() -> Mechanism:
    response: bytes = yield Challenge(b"")
    fields = response.split(b"\0")
    if len(fields) != 3:
        raise SaslProblem(Problem.SYNTAX)
    authorize, login, password = map(text, fields)
    if authorize not in ("", login):
        raise SaslProblem(Problem.IDENTITY)
    yield claim(login, password)


def login() -> Mechanism:
    name: bytes = yield Challenge(b"Username:")
    password: bytes = yield Challenge(b"Password:")
    yield claim(text(name), text(password))


def claim(name: str, password: str) -> PasswordGiven:
    """The claim of a name and a password. Raises SaslProblem for what cannot be either."""
    if not name or not password or "\0" in name + password:
        raise SaslProblem(Problem.SYNTAX)
    if max(len(name), len(password)) > MAX_FIELD:
        raise SaslProblem(Problem.TOO_LONG)
    return PasswordGiven(name, password)


def text(octets: bytes) -> str:
    """UTF-8. Raises SaslProblem."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslProblem(Problem.SYNTAX) from None
