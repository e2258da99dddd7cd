"""Flow A, from the end of the content on: facts, verdict, trace fields, delivery, and the replies."""

import asyncio
import contextlib
from dataclasses import dataclass, replace

from posthorn_delivery import NOT_SCORED, Scores
from posthorn_mail_format.octets import Octets
from posthorn_mail_format.trace import return_path
from posthorn_smtp_in.delivery import Letter, accepted, deliver, deliver_each
from posthorn_smtp_in.filters.milters import Milters
from posthorn_smtp_in.filters.opinions import scores
from posthorn_smtp_in.filters.roster import Panel
from posthorn_smtp_in.filters.scanning import scan_all
from posthorn_smtp_in.filters.spam_fields import changed
from posthorn_smtp_in.filters.specimen import Envelope, Specimen
from posthorn_smtp_in.judge import ContentFacts, Kind, Verdict, judge_content, judge_opinions
from posthorn_smtp_in.judging.gathering import Claims
from posthorn_smtp_in.judging.judging import NOT_JUDGED, Judged, without_forged
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.protocol.content import Fault
from posthorn_smtp_in.protocol.replies import Reply, reply
from posthorn_smtp_in.readdressing import readdress
from posthorn_smtp_in.spool import MAX_HEAD, Spool
from posthorn_smtp_in.submission.authors import judge_authors
from posthorn_smtp_in.submission_fields import mend
from posthorn_smtp_in.trace import Trace, count_received, protocol_keyword, received
from posthorn_smtp_in.transaction import Client, Transaction

NO_SPACE = reply(452, "4.3.1", "Insufficient system storage, try again later")
HEAD_TOO_LARGE = Verdict("header-size", reply(552, "5.3.4", "Header section too large"))


@dataclass(frozen=True, slots=True)
class Origin:
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
        transaction.early = parts.judging.begin(who, parts.log.bind(listener=listener))


async def receive(
    parts: Parts, origin: Origin, transaction: Transaction, fault: Fault | None
) -> tuple[Verdict, list[Reply]]:
    """Judge complete content and deliver it; one reply, or in LMTP one for each recipient.

    Raises domain errors of the store; nothing is stored then.
    """
    spool = transaction.spool
    assert spool is not None
    if fault is None and spool.failure:
        parts.log.error("cannot spool", folder=str(parts.spool), reason=spool.failure)
        return Verdict("no-space", NO_SPACE), _for_all(origin, transaction, NO_SPACE)
    # A.2: facts, then one verdict; filters are asked only about what can still be taken
    head = b"" if fault is not None else spool.head()
    verdict = judge_content(ContentFacts(fault, count_received(head), parts.settings.max_received))
    if verdict.refusal is not None:
        return verdict, _for_all(origin, transaction, verdict.refusal)
    panel = parts.filters.panel(origin.listener)
    judged_here = parts.judging.concerns(
        origin.listener, origin.address, authenticated=origin.client.account is not None
    )
    if len(head) >= MAX_HEAD and (origin.kind is Kind.SUBMISSION or panel.asks or judged_here):
        return HEAD_TOO_LARGE, _for_all(origin, transaction, reply(552, "5.3.4", "Header section too large"))
    refused = await _judge_authors(parts, origin, transaction, head)
    if refused is not None and refused.refusal is not None:
        return refused, [refused.refusal]
    judged = await _judge(parts, origin, transaction, head) if judged_here else NOT_JUDGED
    if judged.verdict.refusal is not None:
        return judged.verdict, _for_all(origin, transaction, judged.verdict.refusal)
    draft = _draft(parts, origin, transaction, head)
    if origin.kind is not Kind.LMTP:
        draft = replace(draft, received=judged.field + draft.received, head=without_forged(draft.head, parts.hostname))
    if panel.asks:
        verdict, draft = await _filter(parts, panel, origin, transaction, draft)
        if verdict.refusal is not None or verdict.discard:
            return verdict, _for_all(origin, transaction, verdict.refusal or accepted(transaction.delivery))
    if judged.verdict.junk and not verdict.junk:
        verdict = judged.verdict
    # A.3 to A.5: scan, blob, one transaction; A.6: the replies, after the commit
    async with parts.large if spool.spooled else contextlib.nullcontext():
        try:
            content = await _content(spool, draft)
        except OSError as error:
            parts.log.error("cannot spool", folder=str(parts.spool), reason=str(error))
            return Verdict("no-space", NO_SPACE), _for_all(origin, transaction, NO_SPACE)
        letter = _letter(origin, transaction, content, draft, junk=verdict.junk, at=parts.clock.time())
        if origin.kind is Kind.LMTP:
            return verdict, await deliver_each(parts, letter)
        return verdict, [await deliver(parts, letter)]


async def _judge_authors(parts: Parts, origin: Origin, transaction: Transaction, head: bytes) -> Verdict | None:
    account = origin.client.account
    if origin.kind is not Kind.SUBMISSION or account is None or not parts.settings.submission.check_from:
        return None
    return await judge_authors(parts.storage, account.id, transaction.mail.sender, head)


def _for_all(origin: Origin, transaction: Transaction, refusal: Reply) -> list[Reply]:
    return [refusal] * (len(transaction.recipients) if origin.kind is Kind.LMTP else 1)


@dataclass(frozen=True, slots=True)
class _Draft:
    """What stands in front of the body: our fields, and the header section of the client (or of a filter)."""

    return_path: bytes
    received: bytes
    head: bytes
    body_at: int
    """Where in the spool the body begins."""
    body: bytes | None = None
    """Another one, from a filter."""
    scores: Scores = NOT_SCORED


def _draft(parts: Parts, origin: Origin, transaction: Transaction, head: bytes) -> _Draft:
    """Put our fields in front; behind them the content is what the client sent, octet for octet.

    Only a submission's header section is mended (RFC 6409 8).
    """
    now = parts.clock.time()
    local = any(recipient.accounts for recipient in transaction.recipients)
    path = return_path(transaction.mail.sender) if local else b""
    trace = received(_trace(parts, origin, transaction, now))
    if origin.kind is not Kind.SUBMISSION:
        return _Draft(path, trace, head, len(head))
    mended = mend(head, hostname=parts.hostname, delivery=transaction.delivery, at=now)
    return _Draft(path, trace, mended, len(head))


async def _judge(parts: Parts, origin: Origin, transaction: Transaction, head: bytes) -> Judged:
    """Whether the message is from whom it says."""
    spool = transaction.spool
    assert spool is not None
    who = Claims(origin.address, origin.client.hello, transaction.mail.sender, parts.hostname)
    log = parts.log.bind(listener=origin.listener, delivery=str(transaction.delivery))
    early = transaction.early or parts.judging.begin(who, log)
    return await parts.judging.judge(who, early, head, spool, log)


async def _filter(
    parts: Parts, panel: Panel, origin: Origin, transaction: Transaction, draft: _Draft
) -> tuple[Verdict, _Draft]:
    """Ask the filters of the listener; the draft with what they change, and the envelope too."""
    spool = transaction.spool
    assert spool is not None
    trace = draft.return_path + draft.received
    specimen = Specimen(_envelope(parts, origin, transaction), trace, draft.head, draft.body_at, spool)
    log = parts.log.bind(listener=origin.listener, delivery=str(transaction.delivery))
    opinions, seen = await asyncio.gather(
        scan_all(panel.scanners, specimen, figures=parts.figures, clock=parts.clock, log=log),
        origin.milters.show(specimen),
    )
    verdict = judge_opinions([*opinions, *seen.opinions])
    if verdict.refusal is not None or verdict.discard:
        return verdict, draft
    await readdress(parts, origin.kind, transaction, seen, log)
    if not transaction.recipients:
        return Verdict("filter-discarded", discard=True), draft
    forged = draft.head if panel.marks_spam else b""
    head = changed(seen.specimen.head, opinions, forged=forged)
    path = return_path(transaction.mail.sender) if draft.return_path else b""
    return verdict, replace(draft, return_path=path, head=head, body=seen.specimen.body, scores=scores(opinions))


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


async def _content(spool: Spool, draft: _Draft) -> Octets:
    """The message as it is stored. Raises OSError when a large one finds no room."""
    start = draft.return_path + draft.received + draft.head
    if draft.body is not None:
        return start + draft.body
    if spool.spooled:
        return await asyncio.to_thread(spool.with_head, start, draft.body_at)
    return spool.with_head(start, draft.body_at)


def _letter(
    origin: Origin, transaction: Transaction, content: Octets, draft: _Draft, *, junk: bool, at: float
) -> Letter:
    assert transaction.spool is not None
    return Letter(
        delivery=transaction.delivery,
        mail=transaction.mail,
        recipients=transaction.recipients,
        content=content,
        client_digest=transaction.spool.digest(),
        account=origin.client.account.id if origin.client.account is not None else None,
        junk=junk,
        scores=draft.scores,
        remote=origin.address,
        at=at,
    )


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
