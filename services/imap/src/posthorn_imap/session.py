"""One client from greeting to goodbye: take a command, check the state, act, write what changed, write the answer.

Commands are answered in the order they came, however many were sent ahead. What the store refuses becomes NO
(errors.py), what cannot be read BAD; what nobody foresaw becomes NO [SERVERBUG] with a reference.
"""

from collections.abc import Awaitable, Callable, Sequence

from structlog.typing import FilteringBoundLogger

from posthorn_imap import notifications
from posthorn_imap.answering import answer_of
from posthorn_imap.capabilities import capabilities
from posthorn_imap.connection import ClientConnection
from posthorn_imap.contexts import leaving, refreshed
from posthorn_imap.literals import Literals
from posthorn_imap.notifications import Notifications
from posthorn_imap.parts import Listening, Parts
from posthorn_imap.protocol.commands import Request
from posthorn_imap.protocol.cursor import SyntaxProblem, Unsupported
from posthorn_imap.protocol.framer import Announced, Command, Event, Fatal, Framer, FramerLimits, Line, Malformed
from posthorn_imap.protocol.framer import Parts as CommandParts
from posthorn_imap.protocol.grammar import CommandProblem, read_request, tag_of
from posthorn_imap.protocol.mailbox_names import UTF8_NAMES
from posthorn_imap.protocol.responses import (
    Answer,
    Condition,
    bad,
    bye,
    continuation,
    mailbox_in_utf7,
    mailbox_in_utf8,
    no,
    ok,
)
from posthorn_imap.protocol.state import State, allowed, may_tell_expunges, refusal, speaks_of_numbers
from posthorn_imap.selection import Selection
from posthorn_model.errors import PosthornError
from posthorn_node.stream.connection import ConnectionLost
from posthorn_storage import AccountRecord

_SKIP = 134_217_728


class Session:
    """One connection's story. `run` it to its end; `drain` lets it end between commands."""

    def __init__(self, parts: Parts, listening: Listening, connection: ClientConnection, address: str) -> None:
        self.parts = parts
        self.listening = listening
        self.connection = connection
        self.address = address
        self.state = State.FRESH
        self.account: AccountRecord | None = None
        self.selection: Selection | None = None
        self.enabled: frozenset[bytes] = frozenset()
        self.notifications: Notifications | None = None
        self.failed_logins = 0
        self.tag = b""
        """Of the command at hand."""
        self.then: Callable[[], Awaitable[None]] | None = None
        """What begins after the answer at hand: TLS, compression."""
        limits = parts.settings.limits
        self.framer = Framer(FramerLimits(line=limits.line, skip=max(_SKIP, 2 * parts.settings.append_limit)))
        self._idling = False
        self._draining = False
        self._garbage = 0
        self._errors = 0
        self.literals = Literals(parts.settings, parts.append_memory)
        self._deadline = self._login_until()

    # The story

    async def run(self) -> None:
        """Talk until either side ends it. Never raises for what the client does."""
        try:
            self.write(ok(f"{self.parts.hostname} ready", self.capability_code()).line())
            await self._converse()
            await self.connection.flush()
        except ConnectionLost as lost:
            self.log.debug("connection lost", reason=str(lost))
        finally:
            await self._end()

    def drain(self) -> None:
        """Say BYE as soon as no command is being read or answered (flows.md G)."""
        self._draining = True
        self.connection.wake()

    def stop(self) -> None:
        """A command at hand is finished in any case; what takes too long is cancelled."""
        self.drain()

    async def _converse(self) -> None:
        while self.state is not State.ENDED:
            event = self.framer.next_event()
            if event is not None:
                await self._handle(event)
            elif self._draining and self.framer.between_commands:
                self.end(bye("Server shutting down", b"UNAVAILABLE"))
            elif self.notifications is not None and self.notifications.due and self.framer.between_commands:
                await notifications.tell(self)
            else:
                await self._wait()

    async def _wait(self) -> None:
        """Take what the client sends next, or notice that it is time to end."""
        await self.connection.flush()
        fresh = self.state is State.FRESH
        left = self._deadline - self.parts.clock.monotonic()
        try:
            data = await self.connection.receive(max(0.0, left) if fresh else self.parts.settings.timeouts.inactive)
        except TimeoutError:
            self.end(bye("Log in sooner" if fresh else "Inactive for too long"))
            return
        if data is not None:
            self.framer.feed(data)
        elif self.selection is not None and self.selection.lost is not None:
            self.end(self.selection.lost)

    async def _handle(self, event: Event) -> None:
        match event:
            case Announced():
                self._judge_literal(event)
            case Command(parts):
                try:
                    await self._perform(parts)
                finally:
                    self.literals.give_back()
            case Malformed(head, reason):
                self.literals.give_back()
                self._refuse(tag_of(head), bad(reason), garbage=True)
            case Fatal(reason):
                self.end(bye(f"Cannot follow: {reason}", b"TOOBIG"))
            case Line():
                raise AssertionError("a line nobody asked for")

    def _login_until(self) -> float:
        """When a client that begins now must have logged in."""
        return self.parts.clock.monotonic() + self.parts.settings.timeouts.login

    # Reading

    def _judge_literal(self, announced: Announced) -> None:
        """Take a literal or refuse it before its first octet."""
        refusal_of = self.literals.refusal(announced, logged_in=self.account is not None)
        if refusal_of is not None:
            self.framer.refuse()
            self.literals.give_back()
            self._refuse(tag_of(announced.head), refusal_of)
            return
        self.framer.accept()
        if announced.synchronizing:
            self.write(continuation("Ready for literal data"))

    async def read_line(self, timeout: float) -> bytes | None:
        """A whole line from the client outside of commands; None after `wake` or when the line is malformed.

        Call `framer.expect_line` first. Raises TimeoutError, ConnectionLost.
        """
        while True:
            match self.framer.next_event():
                case Line(data):
                    return data
                case None:
                    await self.connection.flush()
                    received = await self.connection.receive(timeout)
                    if received is None:
                        return None
                    self.framer.feed(received)
                case _:
                    raise SyntaxProblem("malformed line")

    # Acting

    async def _perform(self, parts: CommandParts) -> None:
        try:
            request = read_request(parts, self.enabled)
        except CommandProblem as problem:
            self._refuse(problem.tag, bad(problem.reason), garbage=problem.garbage)
            return
        except Unsupported as problem:
            self._refuse(tag_of(_first(parts)), no(problem.text, problem.code))
            return
        self._garbage = 0
        if not allowed(request.command, self.state):
            self._refuse(request.tag, bad(f"{request.verb}: {refusal(request.command, self.state)}"))
            return
        if self.uid_only and speaks_of_numbers(request.command):
            self._refuse(request.tag, bad(f"{request.verb}: only UIDs since ENABLE UIDONLY", b"UIDREQUIRED"))
            return
        if self.selection is not None and self.selection.lost is not None:
            self.end(self.selection.lost)
            return
        await self._answer(request)

    async def _answer(self, request: Request) -> None:
        started = self.parts.clock.monotonic()
        self.tag = request.tag
        answer = await answer_of(self, request)
        await self.tell(expunges=may_tell_expunges(request.command), uids=request.verb.startswith("UID "))
        await self.update_contexts()
        self.write(answer.line(request.tag))
        self._count(answer)
        taken = self.parts.clock.monotonic() - started
        self.parts.figures.answered(request.verb.lower(), answer.condition.name.lower(), taken)
        await self.connection.flow()
        then, self.then = self.then, None
        if then is not None:
            await then()

    def _refuse(self, tag: bytes | None, answer: Answer, *, garbage: bool = False) -> None:
        self.write(answer.line() if tag is None else answer.line(tag))
        if garbage:
            self._garbage += 1
        self._count(answer)

    def _count(self, answer: Answer) -> None:
        """Too much that cannot be understood ends the session."""
        limits = self.parts.settings.limits
        self._errors = self._errors + 1 if answer.condition is Condition.BAD else 0
        if self._garbage >= limits.garbage or self._errors >= limits.errors:
            self.end(bye("Too many errors"))

    # What commands use

    def write(self, data: bytes | memoryview) -> None:
        self.connection.write(data)

    @property
    def log(self) -> FilteringBoundLogger:
        """Put together when something is logged: thousands of idle sessions need none."""
        log = self.parts.log.bind(listener=self.listening.name, remote=self.address)
        return log if self.account is None else log.bind(account=self.account.address)

    @property
    def user(self) -> AccountRecord:
        """Whose account it is that is logged in; only in states that have one."""
        assert self.account is not None
        return self.account

    @property
    def selected(self) -> Selection:
        """The selected mailbox; only in the selected state."""
        assert self.selection is not None
        return self.selection

    @property
    def condstore(self) -> bool:
        return b"CONDSTORE" in self.enabled

    @property
    def qresync(self) -> bool:
        return b"QRESYNC" in self.enabled

    @property
    def uid_only(self) -> bool:
        return b"UIDONLY" in self.enabled

    @property
    def rev2(self) -> bool:
        return b"IMAP4REV2" in self.enabled

    def name(self, mailbox: str) -> bytes:
        """The name of a mailbox as this client reads it (RFC 9051 5.1, RFC 6855 3)."""
        return mailbox_in_utf8(mailbox) if self.enabled & UTF8_NAMES else mailbox_in_utf7(mailbox)

    def enable_condstore(self) -> None:
        """A command that shows the client to know mod-sequences turns them on (RFC 7162 3.1)."""
        if not self.condstore:
            self.enabled |= {b"CONDSTORE"}
            if self.selection is not None:
                self.write(ok("Highest", b"HIGHESTMODSEQ %d" % self.selection.feed.highest).line())

    def capability_words(self) -> list[str]:
        tls, limits = self.connection.encrypted, self.parts.settings.limits
        return list(
            capabilities(
                starttls=self.listening.starttls and not tls,
                mechanisms=self.mechanisms,
                logged_in=self.account is not None,
                append_limit=self.parts.settings.append_limit,
                messages=limits.messages,
                saved_messages=limits.saved_messages,
                jmap=bool(self.parts.jmap_url),
            )
        )

    @property
    def mechanisms(self) -> Sequence[str]:
        """Of AUTHENTICATE, as things are; none while logging in would show a password."""
        return self.listening.mechanisms(self.connection)

    def capability_code(self) -> bytes:
        return b"CAPABILITY " + " ".join(self.capability_words()).encode()

    async def tell(self, *, expunges: bool, uids: bool = False, flags: bool = True) -> None:
        """Write what happened in the selected mailbox."""
        if self.selection is None or not self.selection.view.stale:
            return
        if expunges and self.selection.contexts:
            self.write(leaving(self.selection))
        last = self.selection.view.last
        news = self.selection.news(
            expunges=expunges,
            uids=uids or self.qresync,
            modseqs=self.condstore,
            vanished=self.qresync or self.uid_only,
            flags=flags,
        )
        if news:
            self.write(news)
            await notifications.fetch_new(self, last)

    def stop_notifications(self) -> None:
        if self.notifications is not None:
            self.notifications.watching.stop()
            self.notifications = None

    async def update_contexts(self) -> None:
        """Search again what the client has kept up to date (RFC 5267), and write what is different."""
        selection = self.selection
        if selection is not None and selection.contexts and selection.contexts_stale and selection.lost is None:
            self.write(await refreshed(self, selection))

    def idle(self, *, on: bool) -> None:
        """While on, whatever happens in the mailbox wakes the session at once."""
        self._idling = on

    def wake(self) -> None:
        if self.notifications is not None:
            self.notifications.due = True
        if self._idling or self.notifications is not None or (self.selection is not None and self.selection.lost):
            self.connection.wake()

    @property
    def draining(self) -> bool:
        return self._draining

    def logged_in(self, account: AccountRecord) -> None:
        self.account = account
        self.state = State.AUTHENTICATED

    async def log_out(self) -> None:
        """Be as before the login (RFC 8437): no mailbox, nothing enabled; the client has its time to log in again."""
        self.stop_notifications()
        await self.deselect()
        self.parts.logins.log_out(self.user.id)
        self.account = None
        self.enabled = frozenset()
        self.state = State.FRESH
        self._deadline = self._login_until()

    def select(self, selection: Selection) -> None:
        self.selection = selection
        self.state = State.SELECTED

    async def deselect(self) -> None:
        """Leave the mailbox. What arrived while it was selected is no longer \\Recent for others."""
        selection, self.selection = self.selection, None
        if selection is None:
            return
        self.state = State.AUTHENTICATED
        self.parts.changes.leave(selection.feed, selection)
        if selection.takes_recent and selection.gained and selection.lost is None:
            try:
                await self.parts.storage.mail.take_recent(*selection.feed.place)
            except PosthornError as error:
                self.log.info("could not note what was seen", reason=error.public)

    def end(self, farewell: Answer) -> None:
        """Say BYE; nothing more is read."""
        if self.state is not State.ENDED:
            self.write(farewell.line())
            self.state = State.ENDED

    async def _end(self) -> None:
        self.literals.give_back()
        self.stop_notifications()
        try:
            await self.deselect()
        finally:
            if self.account is not None:
                self.parts.logins.log_out(self.account.id)
            self.state = State.ENDED
            if self.connection.compressed:
                self.parts.compressed.give(1)
            await self.connection.close(self.parts.settings.timeouts.write)


def _first(parts: CommandParts) -> bytes:
    return parts[0] if isinstance(parts[0], bytes) else b""
