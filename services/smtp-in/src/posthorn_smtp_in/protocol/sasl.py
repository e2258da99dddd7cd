"""SASL exchanges of AUTH as values: PLAIN (RFC 4616) and LOGIN. Knows no passwords but those it reads."""

import base64
import binascii
from dataclasses import dataclass, field

from posthorn_smtp_in.protocol.replies import Reply, reply

MECHANISMS = ("PLAIN", "LOGIN")

CANCELLED = reply(501, "5.7.0", "Authentication cancelled")
BAD_ENCODING = reply(501, "5.5.2", "Cannot decode the response")
UNKNOWN_MECHANISM = reply(504, "5.5.4", "Mechanism not supported")
MAX_FIELD = 1024


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the client claims to be."""

    login: str
    password: str = field(repr=False)


class SaslProblem(Exception):
    """The exchange cannot go on."""

    def __init__(self, problem: Reply) -> None:
        self.reply = problem
        super().__init__(problem.lines[0])


class Exchange:
    """One exchange: `step` with each response (None: none yet) until it returns credentials."""

    def __init__(self, mechanism: str) -> None:
        if mechanism not in MECHANISMS:
            raise SaslProblem(UNKNOWN_MECHANISM)
        self._plain = mechanism == "PLAIN"
        self._login: str | None = None

    def step(self, response: bytes | None) -> Credentials | Reply:
        """Take a response in base64; returns credentials, or the 334 to send. Raises SaslProblem."""
        if response is None:
            return reply(334, "", "" if self._plain else _challenge("Username:"))
        if response == b"*":
            raise SaslProblem(CANCELLED)
        text = _decode(response)
        if self._plain:
            return _plain(text)
        if self._login is None:
            self._login = text
            return reply(334, "", _challenge("Password:"))
        return _credentials(self._login, text)


def _challenge(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decode(response: bytes) -> str:
    try:
        return base64.b64decode(response, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise SaslProblem(BAD_ENCODING) from None


def _plain(text: str) -> Credentials:
    fields = text.split("\0")
    if len(fields) != 3:
        raise SaslProblem(BAD_ENCODING)
    authorize, login, password = fields
    if authorize not in ("", login):
        raise SaslProblem(reply(535, "5.7.8", "Acting for another identity is not offered"))
    return _credentials(login, password)


def _credentials(login: str, password: str) -> Credentials:
    if not login or not password or max(len(login), len(password)) > MAX_FIELD or "\0" in login + password:
        raise SaslProblem(BAD_ENCODING)
    return Credentials(login, password)
