"""One ManageSieve client from greeting to LOGOUT: a command, its answer, the next command."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from posthorn_imap.connection import ClientConnection
from posthorn_imap.logins import tell_refusal
from posthorn_imap.managesieve.framer import Broken, Frame, Framer
from posthorn_imap.managesieve.requests import BadRequest, Request, State, read_request
from posthorn_imap.managesieve.responses import capabilities, done, line, string
from posthorn_imap.parts import Listening, Parts
from posthorn_model.errors import (
    AlreadyExists,
    AuthenticationFailed,
    NotFound,
    NotPermitted,
    PosthornError,
    TooLarge,
    TooMany,
    TooManyFailures,
)
from posthorn_node.stream.connection import ConnectionLost
from posthorn_sasl import Challenge, SaslProblem
from posthorn_sasl.exchange import CANCEL, encoded
from posthorn_sieve import EXTENSIONS, NOTIFY_METHODS, Limits, compile_script
from posthorn_storage import AccountRecord
from posthorn_storage.sieve_scripts import MAX_SIZE

SERVICE = "sieve"
"""As app passwords name it."""
T = TypeVar("T")
_CODES: Mapping[type[PosthornError], str] = {
    TooLarge: "QUOTA/MAXSIZE",
    TooMany: "QUOTA/MAXSCRIPTS",
    NotFound: "NONEXISTENT",
    AlreadyExists: "ALREADYEXISTS",
    NotPermitted: "ACTIVE",
}
"""RFC 5804 1.3; what is temporary is TRYLATER."""


class ManageSieveSession:
    """One connection's story. `run` it to its end; `drain` ends it between commands."""

    def __init__(self, parts: Parts, listening: Listening, connection: ClientConnection, address: str) -> None:
        self._parts = parts
        self._listening = listening
        self._connection = connection
        self._address = address
        self._state = State.NOT_AUTHENTICATED
        self._framer = Framer(MAX_SIZE)
        self._account: AccountRecord | None = None
        self._draining = False
        self._garbage = self._failed = 0
        self._deadline = parts.clock.monotonic() + parts.settings.timeouts.login
        self._log = parts.log.bind(listener=listening.name, remote=address)
        self._verbs: Mapping[str, Callable[[Request], Awaitable[bytes]]] = {
            "AUTHENTICATE": self._authenticate, "STARTTLS": self._start_tls, "CAPABILITY": self._capability,
            "LOGOUT": self._logout, "NOOP": self._noop, "HAVESPACE": self._have_space, "PUTSCRIPT": self._put,
            "LISTSCRIPTS": self._list, "SETACTIVE": self._activate, "GETSCRIPT": self._get,
            "DELETESCRIPT": self._delete, "RENAMESCRIPT": self._rename, "CHECKSCRIPT": self._check,
            "UNAUTHENTICATE": self._unauthenticate,
        }  # fmt: skip

    def drain(self) -> None:
        self._draining = True
        self._connection.wake()

    def stop(self) -> None:
        """A command at hand is finished in any case; what takes too long is cancelled."""
        self.drain()

    async def run(self) -> None:
        """Talk until either side ends it. Never raises for what the client does."""
        try:
            self._connection.write(self._offer() + done("OK", f"{self._parts.hostname} ManageSieve ready"))
            while self._state is not State.ENDED:
                frame = await self._frame()
                if frame is None:
                    self._bye("The service is closing, try again elsewhere")
                elif isinstance(frame, Broken):
                    self._refuse(frame)
                elif frame.tokens:
                    await self._answer(frame)
            await self._connection.flush()
        except TimeoutError:
            await self._say_late()
        except ConnectionLost as lost:
            self._log.debug("connection lost", reason=str(lost))
        finally:
            self._forget_account()
            await self._connection.close(self._parts.settings.timeouts.write)

    async def _say_late(self) -> None:
        try:
            self._connection.write(done("BYE", "Timed out waiting for you", "TRYLATER"))
            await self._connection.flush()
        except (ConnectionLost, TimeoutError) as lost:
            self._log.debug("connection lost", reason=str(lost))

    def _bye(self, text: str, code: str = "TRYLATER") -> None:
        self._connection.write(done("BYE", text, code))
        self._state = State.ENDED

    async def _frame(self) -> Frame | Broken | None:
        """What the client sends next; None when the process drains."""
        while (frame := self._framer.next()) is None:
            if self._draining:
                return None
            await self._connection.flush()
            times = self._parts.settings.timeouts
            left = self._deadline - self._parts.clock.monotonic()
            data = await self._connection.receive(max(0.0, left) if self._account is None else times.inactive)
            if data is not None:
                self._framer.feed(data)
        return frame

    def _refuse(self, broken: Broken) -> None:
        if broken.fatal:
            self._bye(broken.reason, "QUOTA/MAXSIZE" if broken.too_large else "")
        elif broken.too_large:
            self._connection.write(done("NO", f"a script has at most {MAX_SIZE} octets", "QUOTA/MAXSIZE"))
        else:
            self._connection.write(done("NO", broken.reason))
            self._count_garbage()

    def _count_garbage(self) -> None:
        self._garbage += 1
        if self._garbage >= self._parts.settings.limits.garbage:
            self._bye("Too many lines that are no commands", "")

    async def _answer(self, frame: Frame) -> None:
        """Whatever goes wrong is NO, with a code where there is one (RFC 5804 1.3)."""
        try:
            request = read_request(frame, self._state)
            self._garbage = 0
            self._connection.write(await self._verbs[request.verb](request))
        except BadRequest as problem:
            self._connection.write(done("NO", str(problem)))
            if problem.garbage:
                self._count_garbage()
        except PosthornError as error:
            self._log.info("refused", reason=error.public, **error.fields)
            code = "TRYLATER" if error.temporary else next((_CODES[k] for k in _CODES if isinstance(error, k)), "")
            self._connection.write(done("NO", error.public, code))
        except (ConnectionLost, TimeoutError):
            raise
        except Exception:  # noqa: BLE001 (the top of the flow: the client hears NO, the log has the trace)
            reference = uuid.uuid4().hex[:12]
            self._parts.figures.bugs.inc()
            self._log.exception("internal error", reference=reference)
            self._connection.write(done("NO", f"internal error, reference {reference}", "TRYLATER"))

    # Before and around logging in

    def _offer(self) -> bytes:
        return capabilities(
            mechanisms=[] if self._account is not None else self._listening.mechanisms(self._connection),
            extensions=sorted(EXTENSIONS),
            methods=NOTIFY_METHODS,
            redirects=Limits().redirects,
            starttls=self._listening.starttls and not self._connection.encrypted,
            owner=self._account.address if self._account is not None else "",
        )

    async def _capability(self, _request: Request) -> bytes:
        return self._offer() + done("OK")

    async def _noop(self, request: Request) -> bytes:
        """RFC 5804 2.13."""
        if not request.strings:
            return done("OK")
        return b"OK (TAG " + string(request.strings[0]) + b') "Done"\r\n'

    async def _logout(self, _request: Request) -> bytes:
        self._state = State.ENDED
        return done("OK", "Goodbye")

    async def _start_tls(self, _request: Request) -> bytes:
        """RFC 5804 2.2: after the handshake the capabilities are sent again."""
        if not self._listening.starttls or self._connection.encrypted:
            raise BadRequest("STARTTLS is not offered now")
        self._connection.write(done("OK", "Begin TLS negotiation"))
        await self._connection.start_tls(self._parts.tls_context(), self._parts.settings.timeouts.tls)
        self._framer.forget()
        return self._offer() + done("OK")

    async def _authenticate(self, request: Request) -> bytes:
        """RFC 5804 2.1."""
        if not self._listening.mechanisms(self._connection):
            return done("NO", "Encryption is required to log in", "ENCRYPT-NEEDED")
        logins = self._parts.logins
        response = request.strings[1] if len(request.strings) > 1 else None
        mechanism = request.strings[0].decode("ascii", "replace").upper()
        try:
            login = logins.exchange(mechanism, self._listening.terms(self._connection), self._address, SERVICE)
            while True:
                found = await self._tried(logins.step(login, response), lambda: login.claimed)
                if not isinstance(found, Challenge):
                    return self._welcome(found)
                self._connection.write(line(encoded(found)))
                response = await self._response()
        except SaslProblem as problem:
            raise BadRequest(str(problem)) from None

    async def _response(self) -> bytes:
        """The client's next string of SASL."""
        frame = await self._frame()
        if isinstance(frame, Frame) and len(frame.tokens) == 1 and isinstance(frame.tokens[0], bytes):
            return frame.tokens[0]
        if isinstance(frame, Broken) and frame.fatal:
            self._bye(frame.reason, "")
        return CANCEL

    async def _tried(self, attempt: Awaitable[T], claimed: Callable[[], str]) -> T:
        """What it finds; a failure is counted. `claimed`: by what name, as the attempt found out."""
        try:
            return await attempt
        except (AuthenticationFailed, TooManyFailures) as error:
            tell_refusal(self._parts.figures, self._log, self._listening.name, claimed(), error)
            self._failed += 1
            if self._failed >= self._parts.settings.limits.logins:
                self._state = State.ENDED
            if isinstance(error, TooManyFailures):
                raise
            raise BadRequest("login or password is wrong") from None

    def _welcome(self, account: AccountRecord) -> bytes:
        self._account = account
        self._state = State.AUTHENTICATED
        self._parts.figures.logins.labels(self._listening.name, "accepted").inc()
        return done("OK", "Logged in")

    async def _unauthenticate(self, _request: Request) -> bytes:
        """RFC 5804 2.14.1: as after the connection was made, but for TLS."""
        self._forget_account()
        self._state = State.NOT_AUTHENTICATED
        self._deadline = self._parts.clock.monotonic() + self._parts.settings.timeouts.login
        return done("OK")

    def _forget_account(self) -> None:
        if self._account is not None:
            self._parts.logins.log_out(self._account.id)
            self._account = None

    # Scripts

    @property
    def _owner(self) -> AccountRecord:
        assert self._account is not None
        return self._account

    async def _have_space(self, request: Request) -> bytes:
        await self._parts.storage.sieve.check_room(self._owner.id, request.name(), request.number)
        return done("OK")

    async def _check(self, request: Request) -> bytes:
        await asyncio.to_thread(compile_script, request.strings[0])
        return done("OK", "The script is valid")

    async def _put(self, request: Request) -> bytes:
        """Only what is valid is stored (RFC 5804 2.6)."""
        name, content = request.name(), request.strings[1]
        await self._parts.storage.sieve.check_room(self._owner.id, name, len(content))
        await asyncio.to_thread(compile_script, content)
        await self._parts.storage.sieve.put(self._owner.id, name, content.decode("utf-8"))
        return done("OK", "Stored")

    async def _list(self, _request: Request) -> bytes:
        entries = await self._parts.storage.sieve.all(self._owner.id)
        lines = [string(entry.name) + (b" ACTIVE" if entry.active else b"") + b"\r\n" for entry in entries]
        return b"".join(lines) + done("OK")

    async def _get(self, request: Request) -> bytes:
        content = (await self._parts.storage.sieve.content(self._owner.id, request.name())).encode()
        return b"{%d}\r\n" % len(content) + content + b"\r\n" + done("OK")

    async def _activate(self, request: Request) -> bytes:
        await self._parts.storage.sieve.activate(self._owner.id, request.name() or None)
        return done("OK")

    async def _delete(self, request: Request) -> bytes:
        await self._parts.storage.sieve.delete(self._owner.id, request.name())
        return done("OK")

    async def _rename(self, request: Request) -> bytes:
        await self._parts.storage.sieve.rename(self._owner.id, request.name(0), request.name(1))
        return done("OK")
