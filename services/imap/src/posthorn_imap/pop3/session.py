"""One POP3 client from greeting to QUIT: a line, its answer, the next line. Deletions happen at QUIT alone."""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from posthorn_imap.connection import ClientConnection
from posthorn_imap.logins import tell_refusal
from posthorn_imap.parts import Listening, Parts
from posthorn_imap.pop3.lock import InUse, Lock
from posthorn_imap.pop3.maildrop import Letter, Maildrop, open_maildrop, read_letter, update
from posthorn_imap.pop3.requests import (
    MAX_LINE,
    MAX_SASL,
    BadRequest,
    Request,
    State,
    read_request,
    stuffed,
    top,
)
from posthorn_mail_format.headers import header_end
from posthorn_model.errors import AuthenticationFailed, BlobNotFound, PosthornError, TooManyFailures
from posthorn_node.stream.connection import ConnectionLost
from posthorn_sasl import Challenge, Problem, SaslProblem
from posthorn_sasl.exchange import CANCEL, encoded
from posthorn_storage import AccountRecord

SLICE = 65536
TEMPORARY, IN_AUTH, IN_USE = "[SYS/TEMP] ", "[AUTH] ", "[IN-USE] "
NEEDS_TLS = "encryption is required to log in"
SERVICE = "pop3"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply:
    """A positive answer. `text` None: it has been written already. `lines`, `content`: what follows it."""

    text: str | None
    lines: Sequence[str] | None = None
    content: bytes | None = None


class Pop3Session:
    """One connection's story. `run` it to its end; `drain` ends it between commands, deleting nothing."""

    def __init__(self, parts: Parts, listening: Listening, connection: ClientConnection, address: str) -> None:
        self._parts = parts
        self._listening = listening
        self._connection = connection
        self._address = address
        self._state = State.AUTHORIZATION
        self._input = bytearray()
        self._user: str | None = None
        self._account: AccountRecord | None = None
        self._maildrop: Maildrop | None = None
        self._lock: Lock | None = None
        self._draining = False
        self._garbage = self._failed = 0
        self._deadline = parts.clock.monotonic() + parts.settings.timeouts.login
        self._log = parts.log.bind(listener=listening.name, remote=address)
        self._verbs: Mapping[str, Callable[[Request], Awaitable[Reply]]] = {
            "USER": self._take_user, "PASS": self._take_password, "AUTH": self._authenticate, "STLS": self._start_tls,
            "CAPA": self._capabilities, "QUIT": self._quit, "STAT": self._stat, "LIST": self._list,
            "RETR": self._retrieve, "DELE": self._delete, "NOOP": self._noop, "RSET": self._reset, "TOP": self._top,
            "UIDL": self._unique_ids, "UTF8": self._utf8, "LANG": self._language,
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
            self._say(f"+OK {self._parts.hostname} POP3 ready")
            while self._state is not State.ENDED:
                line = await self._line(MAX_LINE)
                if line is None:
                    break
                await self._answer(line)
            await self._connection.flush()
        except (ConnectionLost, TimeoutError) as lost:
            self._log.debug("connection lost", reason=str(lost))
        finally:
            if self._lock is not None:
                await self._lock.give()
            if self._account is not None:
                self._parts.logins.log_out(self._account.id)
            await self._connection.close(self._parts.settings.timeouts.write)

    def _say(self, text: str) -> None:
        self._connection.write(text.encode("ascii", "replace") + b"\r\n")

    async def _line(self, limit: int) -> bytes | None:
        """The next line without its end; None when the process drains. An over-long one ends the session."""
        while (end := self._input.find(b"\n")) < 0:
            if len(self._input) > limit:
                self._say("-ERR line too long")
                return None
            await self._connection.flush()
            times = self._parts.settings.timeouts
            left = self._deadline - self._parts.clock.monotonic()
            data = await self._connection.receive(max(0.0, left) if self._account is None else times.pop3_inactive)
            if data is not None:
                self._input += data
            elif self._draining:
                return None
        line = bytes(self._input[:end])
        del self._input[: end + 1]
        return line.removesuffix(b"\r")

    async def _answer(self, line: bytes) -> None:
        """Whatever goes wrong is -ERR (RFC 2449 8, RFC 3206)."""
        try:
            request = read_request(line, self._state)
            self._garbage = 0
            await self._send(await self._verbs[request.verb](request))
        except BadRequest as problem:
            self._say(f"-ERR {problem}")
            self._garbage += problem.garbage
            if self._garbage >= self._parts.settings.limits.garbage:
                self._state = State.ENDED
        except PosthornError as error:
            self._log.info("refused", reason=error.public, **error.fields)
            self._say(f"-ERR {TEMPORARY if error.temporary else ''}{error.public}")
        except (ConnectionLost, TimeoutError):
            raise
        except Exception:  # noqa: BLE001 (the top of the flow: the client hears -ERR, the log has the trace)
            reference = uuid.uuid4().hex[:12]
            self._parts.figures.bugs.inc()
            self._log.exception("internal error", reference=reference)
            self._say(f"-ERR {TEMPORARY}internal error, reference {reference}")

    async def _send(self, reply: Reply) -> None:
        if reply.text is not None:
            self._say(f"+OK {reply.text}")
        if reply.lines is not None:
            for line in reply.lines:
                self._say(line)
            self._say(".")
        if reply.content is not None:
            octets = stuffed(reply.content)
            for start in range(0, len(octets), SLICE):
                self._connection.write(octets[start : start + SLICE])
                await self._connection.flow()
        await self._connection.flow()

    # Logging in

    @property
    def _mechanisms(self) -> Sequence[str]:
        """None: encryption is needed first."""
        return self._listening.mechanisms(self._connection)

    async def _capabilities(self, _request: Request) -> Reply:
        words = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "UTF8 USER", "LANG"]
        if self._state is State.AUTHORIZATION:
            words += ["USER", "SASL " + " ".join(self._mechanisms)] if self._mechanisms else []
            words += ["STLS"] if self._listening.starttls and not self._connection.encrypted else []
        return Reply("Capabilities follow", words)

    async def _utf8(self, _request: Request) -> Reply:
        """Names, passwords and messages may be in UTF-8 in any case (RFC 6856 2)."""
        return Reply("UTF-8 it is")

    async def _language(self, request: Request) -> Reply:
        """One language (RFC 6856 3)."""
        if not request.arguments:
            return Reply("Languages follow", ["en English"])
        if request.arguments[0].lower() not in ("*", "en", "i-default"):
            raise BadRequest("only English is spoken here")
        return Reply("en English it is")

    async def _start_tls(self, _request: Request) -> Reply:
        if not self._listening.starttls or self._connection.encrypted:
            raise BadRequest("STLS is not offered now")
        self._say("+OK Begin TLS negotiation")
        await self._connection.start_tls(self._parts.tls_context(), self._parts.settings.timeouts.tls)
        self._input.clear()
        self._user = None
        return Reply(None)

    async def _take_user(self, request: Request) -> Reply:
        if not self._mechanisms:
            raise BadRequest(NEEDS_TLS)
        self._user = request.arguments[0]
        return Reply("Now the password")

    async def _take_password(self, request: Request) -> Reply:
        user, self._user = self._user, None
        if user is None:
            raise BadRequest("USER first")
        attempt = self._parts.logins.log_in(_octets(user), _octets(request.arguments[0]), self._address, SERVICE)
        return await self._welcome(await self._tried(attempt, lambda: user))

    async def _authenticate(self, request: Request) -> Reply:
        """AUTH (RFC 5034)."""
        if not self._mechanisms:
            raise BadRequest(NEEDS_TLS)
        if not request.arguments:
            raise BadRequest(f"name a mechanism: {', '.join(self._mechanisms)}")
        logins = self._parts.logins
        response = request.arguments[1].encode("ascii", "replace") if len(request.arguments) > 1 else None
        try:
            login = logins.exchange(
                request.arguments[0].upper(), self._listening.terms(self._connection), self._address, SERVICE
            )
            while True:
                found = await self._tried(logins.step(login, response), lambda: login.claimed)
                if not isinstance(found, Challenge):
                    return await self._welcome(found)
                self._say(f"+ {encoded(found)}")
                line = await self._line(MAX_SASL)
                response = CANCEL if line is None else line
        except SaslProblem as problem:
            tag = IN_AUTH if problem.problem in (Problem.IDENTITY, Problem.BINDING) else ""
            raise BadRequest(f"{tag}{problem}") from None

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
            raise BadRequest(f"{IN_AUTH}login or password is wrong") from None

    async def _welcome(self, account: AccountRecord) -> Reply:
        self._account = account
        self._lock = Lock(self._parts.storage.lookup, account.id, self._log)
        try:
            await self._lock.take()
        except InUse:
            self._state = State.ENDED
            raise BadRequest(f"{IN_USE}another session has the maildrop") from None
        self._maildrop = await open_maildrop(self._parts.storage, account.id)
        self._state = State.TRANSACTION
        self._parts.figures.logins.labels(self._listening.name, "accepted").inc()
        return Reply(f"{len(self._maildrop.letters)} messages")

    # The maildrop

    @property
    def _drop(self) -> Maildrop:
        assert self._maildrop is not None
        return self._maildrop

    def _letter(self, request: Request) -> Letter:
        letter = self._drop.find(request.number(0))
        if letter is None:
            raise BadRequest("no such message")
        return letter

    async def _stat(self, _request: Request) -> Reply:
        left = self._drop.left()
        return Reply(f"{len(left)} {sum(letter.size for letter in left)}")

    async def _list(self, request: Request) -> Reply:
        if request.arguments:
            letter = self._letter(request)
            return Reply(f"{letter.number} {letter.size}")
        left = self._drop.left()
        return Reply(f"{len(left)} messages", [f"{letter.number} {letter.size}" for letter in left])

    async def _unique_ids(self, request: Request) -> Reply:
        if request.arguments:
            letter = self._letter(request)
            return Reply(f"{letter.number} {letter.unique_id}")
        return Reply("Unique ids follow", [f"{letter.number} {letter.unique_id}" for letter in self._drop.left()])

    async def _retrieve(self, request: Request) -> Reply:
        letter = self._letter(request)
        return Reply(f"{letter.size} octets", content=await self._read(letter))

    async def _top(self, request: Request) -> Reply:
        count = request.number(1)
        content = await self._read(self._letter(request))
        return Reply("The top follows", content=top(content, header_end(content, 0, len(content)), count))

    async def _read(self, letter: Letter) -> bytes:
        async with self._parts.body_memory.held(letter.size):
            try:
                content = await read_letter(self._parts.storage, self._drop, letter)
            except BlobNotFound:
                content = None
        if content is None:
            raise BadRequest("the message is gone")
        return content

    async def _delete(self, request: Request) -> Reply:
        self._drop.deleted.add(self._letter(request).number)
        return Reply("Marked to be deleted")

    async def _reset(self, _request: Request) -> Reply:
        self._drop.deleted.clear()
        return Reply(f"{len(self._drop.letters)} messages")

    async def _noop(self, _request: Request) -> Reply:
        return Reply("Nothing done")

    async def _quit(self, _request: Request) -> Reply:
        """Also when the deletions fail the session is over (RFC 1939 6)."""
        self._state = State.ENDED
        if self._maildrop is not None:
            await update(self._parts.storage, self._maildrop)
        if self._lock is not None:
            await self._lock.give()  # before the client hears of it, who may come back at once
        return Reply("Bye")


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
