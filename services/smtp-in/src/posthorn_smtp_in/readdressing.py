"""What milters change in an envelope: the sender, recipients. What is no address changes nothing."""

from dataclasses import replace

from structlog.typing import FilteringBoundLogger

from posthorn_smtp_in.filters.milters import Seen
from posthorn_smtp_in.judge import Kind
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.protocol.commands import Rcpt
from posthorn_smtp_in.protocol.paths import PathProblem, read_mailbox
from posthorn_smtp_in.recipients import Asked, take_recipient
from posthorn_smtp_in.transaction import Transaction


async def readdress(parts: Parts, kind: Kind, transaction: Transaction, seen: Seen, log: FilteringBoundLogger) -> None:
    """Change the transaction's envelope. Raises Unavailable.

    A milter may add recipients anywhere, as a submission may. In LMTP the recipients stay: each has its own reply.
    """
    if seen.sender is not None:
        try:
            sender = read_mailbox(seen.sender) if seen.sender else ""
            transaction.mail = replace(transaction.mail, sender=sender)
        except PathProblem:
            log.warning("sender not changed", sender=seen.sender[:320], reason="no address")
    if kind is Kind.LMTP:
        if seen.added or seen.removed:
            log.warning("recipients not changed", reason="in LMTP each has its own reply")
        return
    gone = {_same(address) for address in seen.removed}
    transaction.recipients = [each for each in transaction.recipients if _same(each.command.recipient) not in gone]
    for address in seen.added:
        try:
            command = Rcpt(read_mailbox(address))
        except PathProblem:
            log.warning("recipient not added", recipient=address[:320], reason="no address")
            continue
        asked = Asked(command, transaction.mail, Kind.SUBMISSION, "", len(transaction.recipients))
        verdict, recipient = await take_recipient(parts, asked)
        if recipient is None:
            log.warning("recipient not added", recipient=command.recipient, reason=verdict.reason)
        else:
            transaction.recipients.append(recipient)


def _same(address: str) -> str:
    """An address as it is compared: a milter gives it back as it was told, or with the domain in other letters."""
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.lower()}"
