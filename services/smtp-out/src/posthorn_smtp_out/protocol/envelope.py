"""MAIL and RCPT lines for one message at one remote, and whether that remote can take the message at all."""

from collections.abc import Sequence
from dataclasses import dataclass

from posthorn_smtp_out.protocol.capabilities import Capabilities
from posthorn_smtp_out.protocol.replies import Reply


@dataclass(frozen=True, slots=True)
class EnvelopeRecipient:
    """One recipient: the queue's row id and what RCPT needs. DSN parameters are as they came, in xtext."""

    id: int
    address: str
    notify: str | None = None
    orcpt: str | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """One transaction's envelope; `sender` is "" for the null reverse-path, `size` in octets (RFC 1870)."""

    sender: str
    recipients: Sequence[EnvelopeRecipient]
    size: int
    eight_bit: bool
    smtputf8: bool
    ret: str | None = None
    envid: str | None = None
    by: int | None = None
    """Seconds left of the time to deliver by (RFC 2852); below 0 when it is over."""
    by_return: bool = True
    by_trace: bool = False
    priority: int = 0
    require_tls: bool = False


TOO_LARGE = Reply(552, ("5.3.4 Message larger than the destination accepts",))
NEEDS_SMTPUTF8 = Reply(553, ("5.6.7 The destination does not support internationalized addresses",))
NEEDS_TLS = Reply(550, ("5.7.30 The destination does not support REQUIRETLS",))
NEEDS_DELIVERBY = Reply(554, ("5.4.7 The destination does not promise to deliver in time, as the sender requires",))
NEEDS_8BIT = Reply(554, ("5.6.3 The destination does not support 8-bit content",))


def obstacle(envelope: Envelope, capabilities: Capabilities) -> Reply | None:
    """The refusal that the remote's own words imply, so that nothing needs to be sent; None when there is none."""
    if envelope.require_tls and not capabilities.require_tls:
        return NEEDS_TLS  # RFC 8689 4.2.1
    promised = capabilities.deliver_by and (envelope.by or 0) >= max(capabilities.min_by, 1)
    if envelope.by is not None and envelope.by_return and not promised:
        return NEEDS_DELIVERBY  # RFC 2852 4.1: it may not be relayed without the request
    if capabilities.size and envelope.size > capabilities.size:
        return TOO_LARGE
    addresses = (envelope.sender, *(recipient.address for recipient in envelope.recipients))
    if not capabilities.smtputf8 and (envelope.smtputf8 or not all(address.isascii() for address in addresses)):
        return NEEDS_SMTPUTF8  # RFC 6531 3.5: never downgraded
    if envelope.eight_bit and not capabilities.eight_bit:
        return NEEDS_8BIT  # RFC 6152 3: it may not be sent as it is
    return None


def mail_line(envelope: Envelope, capabilities: Capabilities) -> bytes:
    """MAIL with the parameters the remote knows."""
    line = f"MAIL FROM:<{envelope.sender}>"
    if capabilities.size is not None:
        line += f" SIZE={envelope.size}"
    if capabilities.eight_bit and envelope.eight_bit:
        line += " BODY=8BITMIME"
    if capabilities.smtputf8 and envelope.smtputf8:
        line += " SMTPUTF8"
    if capabilities.dsn:
        line += f" RET={envelope.ret}" if envelope.ret else ""
        line += f" ENVID={envelope.envid}" if envelope.envid else ""
    if capabilities.deliver_by and envelope.by is not None:
        line += f" BY={envelope.by};{'R' if envelope.by_return else 'N'}{'T' if envelope.by_trace else ''}"
    if capabilities.priority and envelope.priority:
        line += f" MT-PRIORITY={envelope.priority}"
    if envelope.require_tls:
        line += " REQUIRETLS"
    return f"{line}\r\n".encode()


def rcpt_line(recipient: EnvelopeRecipient, capabilities: Capabilities) -> bytes:
    """RCPT with the parameters the remote knows."""
    line = f"RCPT TO:<{recipient.address}>"
    if capabilities.dsn:
        line += f" NOTIFY={recipient.notify}" if recipient.notify else ""
        line += f" ORCPT={recipient.orcpt}" if recipient.orcpt else ""
    return f"{line}\r\n".encode()
