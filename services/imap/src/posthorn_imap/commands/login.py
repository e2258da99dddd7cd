"""LOGIN and AUTHENTICATE PLAIN (RFC 9051 6.2.2 and 6.2.3, RFC 4616)."""

import base64
import binascii
from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import Authenticate, Login
from posthorn_imap.protocol.responses import Answer, bad, bye, no, ok
from posthorn_model.errors import AuthenticationFailed, Overloaded, TooManyFailures

if TYPE_CHECKING:
    from posthorn_imap.session import Session

MAX_RESPONSE = 8192
_PRIVACY = no("Encryption is required to log in", b"PRIVACYREQUIRED")


def _may_log_in(session: "Session") -> bool:
    return session.connection.encrypted or session.listening.plaintext_auth


async def login(session: "Session", command: Login) -> Answer:
    if not _may_log_in(session):
        return _PRIVACY
    return await _log_in(session, command.user, command.password)


async def authenticate(session: "Session", command: Authenticate) -> Answer:
    if command.mechanism != b"PLAIN":
        return no("Only PLAIN is offered", b"CANNOT")
    if not _may_log_in(session):
        return _PRIVACY
    response = command.initial
    if response is None:
        session.write(b"+ \r\n")
        session.framer.expect_line()
        line = None
        while line is None and not session.draining:
            line = await session.read_line(session.parts.settings.timeouts.login)
        response = line or b"*"
        if response == b"*":
            return bad("AUTHENTICATE cancelled")
    try:
        decoded = base64.b64decode(b"" if response == b"=" else response, validate=True)
        identity, user, password = decoded.split(b"\0")
    except (binascii.Error, ValueError):
        return bad("That is no PLAIN response")
    if len(decoded) > MAX_RESPONSE:
        return bad("That response is too long")
    if identity not in (b"", user):
        return no("Logging in for others is not offered", b"AUTHORIZATIONFAILED")
    return await _log_in(session, user, password)


async def _log_in(session: "Session", user: bytes, password: bytes) -> Answer:
    count = session.parts.figures.logins
    try:
        account = await session.parts.logins.log_in(user, password, session.address)
    except AuthenticationFailed:
        count.labels(session.listening.name, "refused").inc()
        session.log.warning("login refused", login=user[:256].decode("utf-8", "replace"))
        _count_failure(session)
        return no("Login or password is wrong", b"AUTHENTICATIONFAILED")
    except Overloaded as error:
        count.labels(session.listening.name, "limited").inc()
        if isinstance(error, TooManyFailures):
            session.log.warning("login limited", login=user[:256].decode("utf-8", "replace"))
            _count_failure(session)
        return no(error.public, b"LIMIT")
    session.logged_in(account)
    count.labels(session.listening.name, "accepted").inc()
    return ok("Logged in", session.capability_code())


def _count_failure(session: "Session") -> None:
    session.failed_logins += 1
    if session.failed_logins >= session.parts.settings.limits.logins:
        session.end(bye("Too many failed logins"))
