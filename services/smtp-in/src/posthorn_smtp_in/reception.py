"""Flow A, from the end of the content on: facts, verdict, trace fields, delivery, and the replies."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from posthorn_delivery import NOT_SCORED, Scores
from posthorn_mail_format.octets import Octets
from posthorn_mail_format.trace import return_path
from posthorn_smtp_in.delivery import accepted, deliver, deliver_each
from posthorn_smtp_in.filters.milters import Milters
from posthorn_smtp_in.filters.opinions import scores
from posthorn_smtp_in.filters.scanning import scan_all
from posthorn_smtp_in.filters.spam_fields import changed
from posthorn_smtp_in.filters.specimen import Envelope, Specimen
from posthorn_smtp_in.judge import ACCEPTED, ContentFacts, Kind, Verdict, judge_content, judge_opinions
from posthorn_smtp_in.judging.gathering import Claims
from posthorn_smtp_in.judging.judging import without_forged
from posthorn_smtp_in.letter import Letter
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.protocol.content import Fault
from posthorn_smtp_in.protocol.replies import Reply, reply
from posthorn_smtp_in.readdressing import readdress
from posthorn_smtp_in.recipients.relay import may_relay
from posthorn_smtp_in.spool import MAX_HEAD, Spool
from posthorn_smtp_in.submission.authors import judge_authors
from posthorn_smtp_in.submission_fields import mend
from posthorn_smtp_in.trace import Trace, count_received, protocol_keyword, received
from posthorn_smtp_in.transaction import Client, Transaction

NO_SPACE = reply(452, "4.3.1", "Insufficient system storage, try again later")
HEAD_TOO_LARGE = Verdict("header-size", reply(552, "5.3.4", "Header section too large"))


class Origin(NamedTuple):
    """Where the content came from."""

    kind: Kind
    listener: str
    address: str
    client: Client
    tls: str
    milters: Milters


def begin_judging(parts: Parts, listener: str, address: str, client: Client, transaction: Transaction) -> None:
    """Once somebody takes the message: what is to be asked about who sends it is asked while its content comes."""
    concerned = parts.judging.concerns(listener, address, authenticated=client.account is not None)
    if concerned and transaction.early is None:
        who = Claims(address, client.hello, transaction.mail.sender, parts.hostname)
        transaction.early = parts.judging.begin(who, lambda: parts.log.bind(listener=listener))


@dataclass(frozen=True, slots=True)
class Draft:
    """What stands in front of the body: our fields, and the header section of the client (or of a filter)."""

    return_path: bytes
    received: bytes
    head: bytes
    body_at: int
    """Where in the spool the body begins."""
    body: bytes | None = None
    """Another one, from a filter."""


@dataclass(slots=True)
class Case:
    """Complete content on its way through the stages: the facts so far, the verdict so far."""

    origin: Origin
    transaction: Transaction
    spool: Spool
    fault: Fault | None
    head: bytes
    """The header section as the client sent it; b"" where it is not looked at."""
    process_log: FilteringBoundLogger
    verdict: Verdict = ACCEPTED
    results: bytes = b""
    """The field that tells who sent it, b"" where nobody was judged."""
    draft: Draft = Draft(b"", b"", b"", 0)
    scores: Scores = NOT_SCORED

    @property
    def log(self) -> FilteringBoundLogger:
        """Says which message a line is about. Made when asked for: of most messages nothing is said."""
        return self.process_log.bind(listener=self.origin.listener, delivery=str(self.transaction.delivery))


Stage = Callable[[Parts, Case], Awaitable[Verdict]]


async def receive(
    parts: Parts, origin: Origin, transaction: Transaction, fault: Fault | None
) -> tuple[Verdict, list[Reply]]:
    """Judge complete content, stage by stage, and deliver it; one reply, or in LMTP one for each recipient.

    Raises domain errors of the store; nothing is stored then.
    """
    spool = transaction.spool
    assert spool is not None
    head = b"" if fault is not None or spool.failure else spool.head()
    case = Case(origin, transaction, spool, fault, head, parts.log)
    for stage in STAGES:
        verdict = await stage(parts, case)
        if verdict.refusal is not None or verdict.discard:
            return verdict, _for_all(case, verdict.refusal or accepted(transaction.delivery))
        if verdict.junk or not case.verdict.junk:
            case.verdict = verdict
    # A.3 to A.5: scan, blob, one transaction; A.6: the replies, after the commit
    async with parts.large if spool.spooled else contextlib.nullcontext():
        try:
            content = await _whole(case)
        except OSError as error:
            case.log.error("cannot spool", folder=str(parts.spool), reason=str(error))
            return Verdict("no-space", NO_SPACE), _for_all(case, NO_SPACE)
        letter = _letter(parts, case, content)
        if origin.kind is Kind.LMTP:
            return case.verdict, await deliver_each(parts, letter)
        return case.verdict, [await deliver(parts, letter)]


def _for_all(case: Case, answer: Reply) -> list[Reply]:
    return [answer] * (len(case.transaction.recipients) if case.origin.kind is Kind.LMTP else 1)


async def _spooled(parts: Parts, case: Case) -> Verdict:
    """Whether all of it is here."""
    if case.fault is None and case.spool.failure:
        case.log.error("cannot spool", folder=str(parts.spool), reason=case.spool.failure)
        return Verdict("no-space", NO_SPACE)
    return ACCEPTED


async def _content(parts: Parts, case: Case) -> Verdict:
    """Faults of the octets, loops, and a header section that is too large for who must read it."""
    verdict = judge_content(ContentFacts(case.fault, count_received(case.head), parts.settings.max_received))
    if verdict.refusal is None and len(case.head) >= MAX_HEAD:
        origin = case.origin
        if origin.kind is Kind.SUBMISSION or parts.filters.panel(origin.listener).asks or _judged_here(parts, origin):
            return HEAD_TOO_LARGE
    return verdict


async def _authors(parts: Parts, case: Case) -> Verdict:
    """Whether a login may write as the authors of its message."""
    account = case.origin.client.account
    if case.origin.kind is not Kind.SUBMISSION or account is None or not parts.settings.submission.check_from:
        return ACCEPTED
    return await judge_authors(parts.storage, account.id, case.transaction.mail.sender, case.head) or ACCEPTED


def _judged_here(parts: Parts, origin: Origin) -> bool:
    authenticated = origin.client.account is not None
    return parts.judging.concerns(origin.listener, origin.address, authenticated=authenticated)


async def _senders(parts: Parts, case: Case) -> Verdict:
    """Whether the message is from whom it says."""
    origin = case.origin
    if not _judged_here(parts, origin):
        return ACCEPTED
    who = Claims(origin.address, origin.client.hello, case.transaction.mail.sender, parts.hostname)
    early = case.transaction.early or parts.judging.begin(who, lambda: case.log)
    judged = await parts.judging.judge(who, early, case.head, case.spool, lambda: case.log)
    case.results, case.transaction.told = judged.field, judged.told
    return judged.verdict


async def _fields(parts: Parts, case: Case) -> Verdict:
    """Put our fields in front; behind them the content is what the client sent, octet for octet.

    Only a submission's header section is mended (RFC 6409 8), and nobody else's results in our name stay (RFC 8601 5).
    """
    origin, transaction, head, now = case.origin, case.transaction, case.head, parts.clock.time()
    local = any(recipient.accounts for recipient in transaction.recipients)
    path = return_path(transaction.mail.sender) if local else b""
    trace = received(_trace(parts, origin, transaction, now))
    if origin.kind is Kind.SUBMISSION:
        head = mend(head, hostname=parts.hostname, delivery=transaction.delivery, at=now)
    if origin.kind is not Kind.LMTP:
        trace = case.results + trace
        head = without_forged(head, parts.hostname)
    case.draft = Draft(path, trace, head, len(case.head))
    return ACCEPTED


async def _filters(parts: Parts, case: Case) -> Verdict:
    """What content filters think of it, and what they change, the envelope too. They see it with our fields."""
    origin, transaction, draft = case.origin, case.transaction, case.draft
    panel = parts.filters.panel(origin.listener)
    if not panel.asks:
        return ACCEPTED
    log = case.log
    trace = draft.return_path + draft.received
    specimen = Specimen(_envelope(parts, origin, transaction), trace, draft.head, draft.body_at, case.spool)
    opinions, seen = await asyncio.gather(
        scan_all(panel.scanners, specimen, figures=parts.figures, clock=parts.clock, log=log),
        origin.milters.show(specimen),
    )
    verdict = judge_opinions([*opinions, *seen.opinions])
    if verdict.refusal is not None or verdict.discard:
        return verdict
    await readdress(parts, origin.kind, transaction, seen, log)
    if not transaction.recipients:
        return Verdict("filter-discarded", discard=True)
    forged = draft.head if panel.marks_spam else b""
    head = changed(seen.specimen.head, opinions, forged=forged)
    path = return_path(transaction.mail.sender) if draft.return_path else b""
    case.draft = replace(draft, return_path=path, head=head, body=seen.specimen.body)
    case.scores = scores(opinions)
    return verdict


STAGES: Sequence[Stage] = (_spooled, _content, _authors, _senders, _fields, _filters)
"""A.2, in their order: what costs least goes first, and filters are asked only about what can still be taken."""


def _envelope(parts: Parts, origin: Origin, transaction: Transaction) -> Envelope:
    client = origin.client
    return Envelope(
        listener=origin.listener,
        hostname=parts.hostname,
        address=origin.address,
        hello=client.hello,
        account=client.account.address if client.account is not None else "",
        tls=origin.tls,
        delivery=str(transaction.delivery),
        sender=transaction.mail.sender,
        recipients=tuple(recipient.command.recipient for recipient in transaction.recipients),
    )


async def _whole(case: Case) -> Octets:
    """The message as it is stored. Raises OSError when a large one finds no room."""
    spool, draft = case.spool, case.draft
    start = draft.return_path + draft.received + draft.head
    if draft.body is not None:
        return start + draft.body
    if spool.spooled:
        return await asyncio.to_thread(spool.with_head, start, draft.body_at)
    return spool.with_head(start, draft.body_at)


def _letter(parts: Parts, case: Case, content: Octets) -> Letter:
    origin, transaction = case.origin, case.transaction
    return Letter(
        delivery=transaction.delivery,
        mail=transaction.mail,
        recipients=transaction.recipients,
        content=content,
        client_digest=case.spool.digest(),
        account=origin.client.account.id if origin.client.account is not None else None,
        signs=_signs(parts, origin),
        junk=case.verdict.junk,
        scores=case.scores,
        remote=origin.address,
        at=parts.clock.time(),
    )


def _signs(parts: Parts, origin: Origin) -> bool:
    """Only who has logged in is known to be of the domain, or who is trusted to be: what is passed on for others is
    never signed as theirs.
    """
    relay = parts.settings.relay
    return origin.client.account is not None or (relay.sign and may_relay(relay, origin.kind, origin.address))


def _trace(parts: Parts, origin: Origin, transaction: Transaction, now: float) -> Trace:
    hidden = origin.kind is Kind.SUBMISSION and parts.settings.submission.hide_client
    only = transaction.recipients[0].command.recipient if len(transaction.recipients) == 1 else ""
    return Trace(
        hello="" if hidden else origin.client.hello,
        address="" if hidden else origin.address,
        hostname=parts.hostname,
        protocol=protocol_keyword(
            lmtp=origin.kind is Kind.LMTP,
            extended=origin.client.extended,
            tls=bool(origin.tls),
            authenticated=origin.client.account is not None,
            smtputf8=transaction.mail.smtputf8,
        ),
        delivery=str(transaction.delivery),
        tls=origin.tls,
        recipient=only,
        at=now,
    )
