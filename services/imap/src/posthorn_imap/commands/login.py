"""LOGIN and AUTHENTICATE (RFC 9051 6.2.2 and 6.2.3, RFC 4959)."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from posthorn_imap.errors import answer_to_exchange
from posthorn_imap.logins import tell_refusal
from posthorn_imap.protocol.commands import Authenticate, Login
from posthorn_imap.protocol.responses import Answer, bye, continuation, no, ok
from posthorn_model.errors import AuthenticationFailed, Overloaded, TooManyFailures
from posthorn_sasl import Challenge, SaslProblem
from posthorn_sasl.exchange import CANCEL, encoded
from posthorn_storage import AccountRecord

if TYPE_CHECKING:
    from posthorn_imap.session import Session

_PRIVACY = no("Encryption is required to log in", b"PRIVACYREQUIRED")
SERVICE = "imap"
T = TypeVar("T")


async def login(session: "Session", command: Login) -> Answer:
    if not session.mechanisms:
        return _PRIVACY
    attempt = session.parts.logins.log_in(command.user, command.password, session.address, SERVICE)
    found = await _tried(session, attempt, lambda: command.user.decode("utf-8", "replace"))
    return found if isinstance(found, Answer) else _welcome(session, found)


async def authenticate(session: "Session", command: Authenticate) -> Answer:
    if not session.mechanisms:
        return _PRIVACY
    logins = session.parts.logins
    try:
        exchange = logins.exchange(
            command.mechanism.decode("ascii", "replace"),
            session.listening.terms(session.connection),
            session.address,
            SERVICE,
        )
        response = command.initial
        while True:
            step = logins.step(exchange, response)
            found = await _tried(session, step, lambda: exchange.claimed)
            if isinstance(found, Answer):
                return found
            if not isinstance(found, Challenge):
                return _welcome(session, found)
            session.write(continuation(encoded(found)))
            response = await _response(session)
    except SaslProblem as problem:
        return answer_to_exchange(problem.problem)


async def _response(session: "Session") -> bytes:
    """The client's next line; a session that drains does not wait for it."""
    session.framer.expect_line()
    line = None
    while line is None and not session.draining:
        line = await session.read_line(session.parts.settings.timeouts.login)
    return CANCEL if line is None else line


async def _tried(session: "Session", attempt: Awaitable[T], claimed: Callable[[], str]) -> T | Answer:
    """What it finds, or why it is refused, counted. `claimed`: by what name, as the attempt found out."""
    try:
        return await attempt
    except (AuthenticationFailed, TooManyFailures) as error:
        tell_refusal(session.parts.figures, session.log, session.listening.name, claimed(), error)
        _count_failure(session)
        if isinstance(error, TooManyFailures):
            return no(error.public, b"LIMIT")
        return no("Login or password is wrong", b"AUTHENTICATIONFAILED")
    except Overloaded as error:
        session.parts.figures.logins.labels(session.listening.name, "limited").inc()
        return no(error.public, b"LIMIT")


def _welcome(session: "Session", account: AccountRecord) -> Answer:
    session.logged_in(account)
    session.parts.figures.logins.labels(session.listening.name, "accepted").inc()
    return ok("Logged in", session.capability_code())


def _count_failure(session: "Session") -> None:
    session.failed_logins += 1
    if session.failed_logins >= session.parts.settings.limits.logins:
        session.end(bye("Too many failed logins"))
