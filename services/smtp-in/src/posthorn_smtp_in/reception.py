"""Flow A, from the end of the content on: facts, verdict, trace fields, delivery, and the replies."""

import contextlib
from dataclasses import dataclass

from posthorn_smtp_in.delivery import Letter, deliver, deliver_each
from posthorn_smtp_in.judge import ContentFacts, Kind, Verdict, judge_content
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.protocol.content import Fault
from posthorn_smtp_in.protocol.replies import Reply, reply
from posthorn_smtp_in.spool import MAX_HEAD, Spool
from posthorn_smtp_in.submission_fields import mend
from posthorn_smtp_in.trace import Trace, count_received, protocol_keyword, received, return_path
from posthorn_smtp_in.transaction import Client, Transaction

NO_SPACE = reply(452, "4.3.1", "Insufficient system storage, try again later")
HEAD_TOO_LARGE = Verdict("header-size", reply(552, "5.3.4", "Header section too large"))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the content came from."""

    kind: Kind
    address: str
    client: Client
    tls: str


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
    # A.2: facts, then one verdict
    head = b"" if fault is not None else spool.head()
    verdict = judge_content(ContentFacts(fault, count_received(head), parts.settings.max_received))
    if verdict.refusal is not None:
        return verdict, _for_all(origin, transaction, verdict.refusal)
    if len(head) >= MAX_HEAD and origin.kind is Kind.SUBMISSION:
        return HEAD_TOO_LARGE, _for_all(origin, transaction, reply(552, "5.3.4", "Header section too large"))
    # A.3 to A.5: scan, blob, one transaction; A.6: the replies, after the commit
    async with parts.large if spool.spooled else contextlib.nullcontext():
        letter = _letter(parts, origin, transaction, spool, head)
        if origin.kind is Kind.LMTP:
            return verdict, await deliver_each(parts, letter)
        return verdict, [await deliver(parts, letter)]


def _for_all(origin: Origin, transaction: Transaction, refusal: Reply) -> list[Reply]:
    return [refusal] * (len(transaction.recipients) if origin.kind is Kind.LMTP else 1)


def _letter(parts: Parts, origin: Origin, transaction: Transaction, spool: Spool, head: bytes) -> Letter:
    """Put our fields in front; behind them the content is what the client sent, octet for octet.

    Only a submission's header section is mended (RFC 6409 8).
    """
    now = parts.clock.time()
    local = any(recipient.accounts for recipient in transaction.recipients)
    fields = return_path(transaction.mail.sender) if local else b""
    fields += received(_trace(parts, origin, transaction, now))
    replaced = 0
    client_message_id = True
    if origin.kind is Kind.SUBMISSION:
        mended = mend(head, hostname=parts.hostname, delivery=transaction.delivery, at=now)
        fields += mended.head
        replaced = len(head)
        client_message_id = not mended.message_id_added
    return Letter(
        delivery=transaction.delivery,
        mail=transaction.mail,
        recipients=transaction.recipients,
        content=spool.with_head(fields, replaced),
        client_digest=spool.digest(),
        client_message_id=client_message_id,
        account=origin.client.account.id if origin.client.account is not None else None,
    )


def _trace(parts: Parts, origin: Origin, transaction: Transaction, now: float) -> Trace:
    only = transaction.recipients[0].command.recipient if len(transaction.recipients) == 1 else ""
    return Trace(
        hello=origin.client.hello,
        address=origin.address,
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
