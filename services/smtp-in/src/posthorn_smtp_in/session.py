"""One client from greeting to goodbye: takes events from the dialogue, answers each, keeps the times.

Replies are gathered while commands are at hand and sent when the client is waited for (RFC 2920 3.2). What the store
refuses becomes a reply (errors.py); what nobody foresaw becomes 451 with a reference, and the connection lives.
"""

import uuid
from uuid import UUID

from posthorn_model.errors import PosthornError
from posthorn_node.stream.connection import Connection, ConnectionLost, Interrupted
from posthorn_smtp_in.authentication import Authentication, Step
from posthorn_smtp_in.errors import reply_to, reply_to_bug, reply_to_fault
from posthorn_smtp_in.filters.milters import make_milters
from posthorn_smtp_in.greeting import Offer, banner, greet
from posthorn_smtp_in.judge import Kind, SenderFacts, judge_sender
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.protocol import replies
from posthorn_smtp_in.protocol.commands import Auth, Bare, Hello, Mail, Rcpt, Verb
from posthorn_smtp_in.protocol.content import ContentLimits, Fault
from posthorn_smtp_in.protocol.dialogue import (
    ChallengeAnswer,
    ChunkEnd,
    ContentEnd,
    ContentPiece,
    Dialogue,
    Event,
    Malformed,
)
from posthorn_smtp_in.protocol.replies import Reply, reply
from posthorn_smtp_in.protocol.requests import NOTHING
from posthorn_smtp_in.protocol.states import Phase
from posthorn_smtp_in.rates.allowance import Allowance
from posthorn_smtp_in.reception import NO_SPACE, Origin, begin_judging, receive
from posthorn_smtp_in.recipients import Asked, take_recipient
from posthorn_smtp_in.spool import Spool
from posthorn_smtp_in.submission.extensions import Offered, judge_requests, keywords, offered
from posthorn_smtp_in.transaction import Client, Listener, Transaction

DRAINING = reply(421, "4.3.2", "Service closing, try again elsewhere")
TIMED_OUT = reply(421, "4.4.2", "Timed out waiting for you")
TOO_LONG_HERE = reply(421, "4.4.2", "The connection was open for too long")
TOO_MANY_ERRORS = reply(421, "4.7.0", "Too many errors")
TOO_MANY_LOGINS = reply(421, "4.7.0", "Too many failed logins")
NO_VRFY = reply(252, "2.5.0", "Cannot verify the user, but will take a message and attempt delivery")
HELP = reply(214, "2.0.0", "See RFC 5321")
TLS_AGAIN = reply(503, "5.5.1", "TLS is already active")
NO_TLS = reply(502, "5.5.1", "STARTTLS is not offered here")
TOO_MANY_TRANSACTIONS = reply(421, "4.7.0", "Too many messages on one connection, connect again")


class Session:
    """One connection's story. `run` it to its end; `drain` lets it end between transactions."""

    def __init__(self, parts: Parts, listener: Listener, connection: Connection, address: str) -> None:
        self._parts = parts
        self._listener = listener
        self._connection = connection
        self._address = address
        self._lmtp = listener.kind is Kind.LMTP
        settings = parts.settings
        limits = ContentLimits(settings.max_message_size, long_lines=settings.allow_long_lines)
        self._dialogue = Dialogue(limits, lmtp=self._lmtp)
        self._client = Client()
        self._transaction: Transaction | None = None
        self._authentication = Authentication(parts, listener, connection, address)
        self._allowance = Allowance(parts, listener.kind, address)
        self._out = bytearray()
        self._draining = False
        self._stopping = False
        self._errors = 0
        self._transactions = 0
        self._deadline = parts.clock.monotonic() + settings.timeouts.session
        self._unread: list[UUID] = []
        """Deliveries whose reply the client has not shown to have read."""
        self._log = parts.log.bind(listener=listener.name, remote=address)
        panel = parts.filters.panel(listener.name)
        self._milters = make_milters(panel.milters, figures=parts.figures, clock=parts.clock, log=self._log)

    def drain(self) -> None:
        """Say 421 as soon as no transaction is open (flows.md G)."""
        self._draining = True
        if self._dialogue.idle:
            self._connection.interrupt()

    def stop(self) -> None:
        """Say 421 at the next wait, whatever is open; nothing of it has been acknowledged."""
        self._draining = self._stopping = True
        self._connection.interrupt()

    async def run(self) -> None:
        """Talk until either side ends it. Never raises for what the client does."""
        try:
            hostname = self._parts.hostname
            refusal = await self._allowance.enter()
            if refusal is None:
                refusal = await self._milters.connect(self._address, listener=self._listener.name, hostname=hostname)
            if refusal is not None:
                self._goodbye(refusal)
            else:
                self._out += banner(hostname, lmtp=self._lmtp).encode()
            await self._converse()
        except ConnectionLost as lost:
            self._log.debug("connection lost", reason=str(lost))
        finally:
            self._transaction_over()
            await self._milters.close()
            await self._allowance.leave()
            await self._connection.close(self._parts.settings.timeouts.write)

    async def _converse(self) -> None:
        while self._dialogue.phase is not Phase.ENDED:
            event = self._dialogue.next_event()
            if event is not None:
                await self._handle(event)
                continue
            if self._stopping or (self._draining and self._dialogue.phase in (Phase.FRESH, Phase.READY)):
                self._goodbye(DRAINING)
                break
            await self._flush()
            if not await self._wait():
                break
        await self._flush()

    async def _wait(self) -> bool:
        """Take what the client sends next; False when there is nothing more to wait for."""
        times = self._parts.settings.timeouts
        left = self._deadline - self._parts.clock.monotonic()
        reading = self._dialogue.phase is Phase.CONTENT
        try:
            data = await self._connection.receive(max(0.0, min(times.content if reading else times.command, left)))
        except TimeoutError:
            self._goodbye(TIMED_OUT if self._parts.clock.monotonic() < self._deadline else TOO_LONG_HERE)
            return False
        except Interrupted:
            return True
        if not data:
            return False
        if self._unread:
            self._parts.storage.mail.acknowledged(self._unread)
            self._unread = []
        if self._parts.clock.monotonic() >= self._deadline:
            self._goodbye(TOO_LONG_HERE)
            return False
        self._dialogue.feed(data)
        return True

    async def _flush(self) -> None:
        if self._out:
            data, self._out = bytes(self._out), bytearray()
            await self._connection.send(data, self._parts.settings.timeouts.write)

    def _goodbye(self, farewell: Reply) -> None:
        self._out += self._dialogue.close(farewell)

    def _answer(self, answer: Reply) -> None:
        """Answer the event at hand; too many refusals end the connection."""
        self._out += self._dialogue.answer(answer)
        if answer.code >= 500:
            self._errors += 1
            if self._errors >= self._parts.settings.limits.errors and self._dialogue.phase is not Phase.ENDED:
                self._goodbye(TOO_MANY_ERRORS)

    async def _handle(self, event: Event) -> None:
        if isinstance(event, ContentPiece):
            self._add(event.data)
            return
        if isinstance(event, ContentEnd):
            if event.fault is Fault.FLOOD:
                self._log.warning("far too much content", octets=event.size)
                self._goodbye(reply_to_fault(Fault.FLOOD))
            else:
                await self._finish(event)
            return
        try:
            await self._act(event)
        except PosthornError as error:
            self._log.info("refused", reason=error.public, **error.fields)
            self._answer(reply_to(error))
        except (ConnectionLost, Interrupted):
            raise
        except Exception:  # noqa: BLE001 (the top of the flow: the client hears 451, the log has the trace)
            self._answer(self._bug())

    def _bug(self) -> Reply:
        reference = uuid.uuid4().hex[:12]
        self._parts.figures.bugs.inc()
        self._log.exception("internal error", reference=reference)
        return reply_to_bug(reference)

    async def _act(self, event: Event) -> None:
        match event:
            case Malformed(refusal):
                self._answer(refusal)
            case Hello():
                self._transaction_over()
                self._client.hello = event.name
                self._client.extended = event.verb is not Verb.HELO
                unwanted = await self._milters.hello(event.name, tls=self._connection.cipher)
                self._answer(unwanted or greet(event, self._offer()))
            case Mail():
                await self._begin(event)
            case Rcpt():
                await self._add_recipient(event)
            case Auth(mechanism, initial):
                known = self._client.account is not None
                self._authenticated(await self._authentication.begin(mechanism, initial, known=known))
            case ChallengeAnswer(text):
                self._authenticated(await self._authentication.step(text))
            case ChunkEnd(size, fault):
                self._answer(self._chunk_taken(size, fault))
            case Bare(Verb.STARTTLS):
                await self._upgrade()
            case Bare(Verb.DATA):
                self._answer(await self._milters.data() or replies.START_CONTENT)
            case Bare(Verb.RSET):
                self._transaction_over()
                await self._milters.end_message()
                self._answer(replies.RESET)
            case Bare(verb):
                self._answer_simple(verb)

    def _answer_simple(self, verb: Verb) -> None:
        match verb:
            case Verb.QUIT:
                self._answer(replies.BYE)
            case Verb.VRFY:
                self._answer(NO_VRFY)
            case Verb.HELP:
                self._answer(HELP)
            case Verb.EXPN:
                self._answer(replies.NOT_IMPLEMENTED)
            case _:
                self._answer(replies.OK)

    # TLS and authentication

    def _offer(self) -> Offer:
        tls = self._connection.encrypted
        return Offer(
            hostname=self._parts.hostname,
            size=self._parts.settings.max_message_size,
            starttls=self._listener.starttls and not tls,
            mechanisms=self._authentication.mechanisms if self._client.account is None else (),
            more=keywords(self._offered(), self._parts.clock.time()),
        )

    def _offered(self) -> Offered:
        return offered(self._parts.settings.submission, self._listener.kind, tls=self._connection.encrypted)

    async def _upgrade(self) -> None:
        if self._connection.encrypted:
            self._answer(TLS_AGAIN)
            return
        if not self._listener.starttls:
            self._answer(NO_TLS)
            return
        context, times = self._parts.tls_context(), self._parts.settings.timeouts
        self._answer(replies.START_TLS)
        if dropped := self._dialogue.forget_input():
            self._log.warning("plain text ahead of TLS dropped", octets=dropped)
        last, self._out = self._out, bytearray()
        await self._connection.accept_tls(context, last, send=times.write, tls=times.tls)
        self._client = Client()

    def _authenticated(self, step: Step) -> None:
        answer, account = step
        if account is not None:
            self._client.account = account
        self._answer(answer)
        if self._authentication.failed >= self._parts.settings.limits.authentications:
            self._goodbye(TOO_MANY_LOGINS)

    # The transaction

    def _transaction_over(self) -> None:
        if self._transaction is not None:
            self._transaction.close()
            self._transaction = None

    async def _begin(self, command: Mail) -> None:
        if self._transactions >= self._parts.settings.limits.transactions:
            self._answer(TOO_MANY_TRANSACTIONS)
            return
        account = self._client.account
        own = not command.sender or account is None
        if account is not None and command.sender:
            own = await self._parts.storage.directory.may_send_as(account.id, command.sender)
        verdict = judge_sender(
            SenderFacts(
                kind=self._listener.kind,
                account=account.id if account is not None else None,
                sender=command.sender,
                may_send_as=own,
                declared_size=command.size,
                size_limit=self._parts.settings.max_message_size,
            )
        )
        refusal = verdict.refusal
        if refusal is None and command.requests is not NOTHING:
            refusal = judge_requests(command.requests, self._offered(), self._parts.clock.time())
        if refusal is None:
            refusal = await self._allowance.refuse_message(command.sender, account.id if account else None)
        if refusal is not None:
            self._answer(refusal)
            return
        self._transactions += 1
        self._transaction_over()
        transaction = Transaction(command)
        login = account.address if account is not None else ""
        if refusal := await self._milters.sender(command, delivery=transaction.delivery, account=login):
            self._answer(refusal)
            return
        self._transaction = transaction
        self._answer(replies.SENDER_OK)

    async def _add_recipient(self, command: Rcpt) -> None:
        transaction = self._transaction
        assert transaction is not None
        asked = Asked(command, transaction.mail, self._listener.kind, self._address, len(transaction.recipients))
        verdict, recipient = await take_recipient(self._parts, asked)
        self._parts.figures.recipients.labels(self._listener.name, verdict.reason).inc()
        if recipient is None:
            self._log.info("recipient refused", recipient=command.recipient, reason=verdict.reason)
            self._answer(verdict.refusal or replies.OUT_OF_SEQUENCE)
            return
        who = self._client.account
        limited = await self._allowance.refuse_recipient(
            transaction.mail.sender, who.id if who else None, recipient.command.recipient, recipient.site
        )
        if refusal := limited or await self._milters.recipient(command):
            self._answer(refusal)
            return
        transaction.recipients.append(recipient)
        begin_judging(self._parts, self._listener.name, self._address, self._client, transaction)
        self._answer(replies.RECIPIENT_OK)

    def _spool(self, transaction: Transaction) -> Spool:
        if transaction.spool is None:
            transaction.spool = Spool(self._parts.spool, self._parts.settings.limits.content_in_memory)
        return transaction.spool

    def _add(self, piece: bytes) -> None:
        """Flow A.1: octets into memory, past the limit into a spool file."""
        transaction = self._transaction
        assert transaction is not None
        self._spool(transaction).add(piece)

    def _chunk_taken(self, size: int, fault: Fault | None) -> Reply:
        transaction = self._transaction
        assert transaction is not None
        if fault is None and self._spool(transaction).failure:
            return NO_SPACE
        return reply_to_fault(fault) if fault is not None else reply(250, "2.0.0", f"{size} octets received")

    async def _finish(self, end: ContentEnd) -> None:
        """Flow A.2 to A.6: the content is complete."""
        transaction, parts = self._transaction, self._parts
        assert transaction is not None
        self._spool(transaction)
        started = parts.clock.monotonic()
        origin = Origin(
            self._listener.kind,
            self._listener.name,
            self._address,
            self._client,
            self._connection.cipher,
            self._milters,
        )
        every = len(transaction.recipients) if self._lmtp else 1
        reason = "error"
        try:
            verdict, answers = await receive(parts, origin, transaction, end.fault)
            reason = verdict.reason
        except PosthornError as error:
            reason = type(error).__name__
            answers = [reply_to(error)] * every
        except Exception:  # noqa: BLE001 (the top of the flow)
            answers = [self._bug()] * every
        self._out += self._dialogue.answer_all(answers)
        if any(answer.positive for answer in answers):
            self._unread.append(transaction.delivery)
        parts.figures.messages.labels(self._listener.name, reason).inc()
        parts.figures.octets.labels(self._listener.name).inc(end.size)
        parts.figures.delivery.observe(parts.clock.monotonic() - started)
        self._log.info(
            "message",
            delivery=str(transaction.delivery),
            verdict=reason,
            sender=transaction.mail.sender,
            recipients=len(transaction.recipients),
            size=end.size,
            codes=[answer.code for answer in answers],
            **transaction.told,
        )
        self._transaction_over()
        await self._milters.end_message()
