"""Bounces of what was passed on: an address that sender rewriting made leads back to the sender of then."""

from posthorn_mail_format.srs import ExpiredSender, ForgedSender
from posthorn_smtp_in.judge import Verdict
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.protocol.commands import Mail
from posthorn_smtp_in.protocol.replies import reply

FORGED = Verdict("forged-return", reply(550, "5.1.1", "No such user here"))
EXPIRED = Verdict("expired-return", reply(550, "5.7.1", "This return address is too old"))
REPORTS_ONLY = Verdict("not-a-report", reply(550, "5.7.1", "Only delivery reports are taken for this address"))


def led_back(parts: Parts, mail: Mail, address: str) -> str | Verdict | None:
    """The sender of then, the refusal, or None for an address that is not written as a rewritten one."""
    try:
        original = parts.storage.senders.original(address, parts.clock.time())
    except ForgedSender:
        return FORGED
    except ExpiredSender:
        return EXPIRED
    if original is not None and mail.sender:
        return REPORTS_ONLY  # else anybody who has seen one could write to its sender through us
    return original
