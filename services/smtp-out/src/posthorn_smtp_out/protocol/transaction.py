"""One mail transaction as a value: which lines go out next, what each reply means, what came of every recipient.

With PIPELINING the envelope and DATA go out together (RFC 2920); without it one line at a time. The caller sends
`next_lines`, feeds the replies in order, and when `content_wanted` sends the content, or only its end when nobody was
accepted, and feeds the last reply: over LMTP one for each recipient that was accepted. Where BDAT is offered it stands
for DATA (RFC 3030): the content follows once somebody was accepted.
"""

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto

from posthorn_smtp_out.protocol.capabilities import Capabilities
from posthorn_smtp_out.protocol.envelope import Envelope, EnvelopeRecipient, mail_line, obstacle, rcpt_line
from posthorn_smtp_out.protocol.replies import Reply

OTHER_REASONS = ("4.2.2", "4.3.1")
"""For 452 beside too many recipients: the mailbox or the server is full."""


class Step(Enum):
    """What a line that was sent was for; its reply is judged by it, and its time limit chosen."""

    MAIL = auto()
    RCPT = auto()
    DATA = auto()
    END = auto()
    RSET = auto()


class Transaction:
    """State of one transaction. `replies` ends with one reply for each recipient's id."""

    def __init__(self, envelope: Envelope, capabilities: Capabilities) -> None:
        self.envelope = envelope
        self.replies: dict[int, Reply] = {}
        self.accepted: list[EnvelopeRecipient] = []
        self.crowded: list[int] = []
        """Recipients beyond those that fit into one transaction (RFC 5321 4.5.3.1.10)."""
        self.content_wanted = False
        """The content must follow: 354 was received, or, with BDAT, somebody was accepted."""
        self.open = False
        """MAIL was accepted and the transaction has not ended: RSET is due before the next one."""
        self._capabilities = capabilities
        self._unsent: deque[tuple[Step, EnvelopeRecipient | None]] = deque()
        self._awaited: deque[tuple[Step, EnvelopeRecipient | None]] = deque()
        refusal = obstacle(envelope, capabilities)
        if refusal is not None:
            self._refuse_rest(refusal)
        else:
            self._unsent.append((Step.MAIL, None))
            self._unsent.extend((Step.RCPT, recipient) for recipient in envelope.recipients)
            if not capabilities.chunking:
                self._unsent.append((Step.DATA, None))

    @property
    def chunked(self) -> bool:
        """The content goes out by BDAT, as it is, not stuffed and without an end of data."""
        return self._capabilities.chunking

    @property
    def awaited(self) -> Step | None:
        """What the next reply answers; None when none is awaited."""
        return self._awaited[0][0] if self._awaited else None

    def next_lines(self) -> bytes:
        """The lines to send now; b"" when the transaction needs nothing more, or content, or a reply first."""
        if self._awaited:
            return b""
        lines = b""
        while self._unsent:
            step, recipient = self._unsent.popleft()
            if step is Step.DATA and not self.accepted and not self._awaited:
                return lines  # nobody was accepted: nothing to send
            self._awaited.append((step, recipient))
            lines += self._line(step, recipient)
            if not self._capabilities.pipelining:
                break
        return lines

    def content_sent(self) -> None:
        """The end of data has been sent: the next reply decides about everybody accepted, or the next ones do."""
        self.content_wanted = False
        if self._capabilities.lmtp:
            self._awaited.extend((Step.END, recipient) for recipient in self.accepted)
        else:
            self._awaited.append((Step.END, None))

    def feed(self, reply: Reply) -> None:
        """Take the reply to the oldest line that has none."""
        step, recipient = self._awaited.popleft()
        if step is Step.MAIL:
            self._mail(reply)
        elif step is Step.RCPT and recipient is not None:
            self._rcpt(recipient, reply)
        elif step is Step.DATA:
            self._data(reply)
        else:
            # What is left after a chunk that was refused is not said (RFC 3030 2): RSET makes it sure.
            self.open = self.chunked and not reply.positive
            self._decide(reply, [recipient] if recipient is not None else self.accepted)
        if self.chunked and self.open and step is Step.RCPT and not self._unsent and not self._awaited:
            self.content_wanted = bool(self.accepted)

    def give_up(self, reply: Reply) -> None:
        """The connection is lost: `reply` stands for all that have no answer yet."""
        self._unsent.clear()
        self._awaited.clear()
        self._refuse_rest(reply)

    def _line(self, step: Step, recipient: EnvelopeRecipient | None) -> bytes:
        if step is Step.MAIL:
            return mail_line(self.envelope, self._capabilities)
        if recipient is not None:
            return rcpt_line(recipient, self._capabilities)
        return b"DATA\r\n"

    def _mail(self, reply: Reply) -> None:
        if reply.positive:
            self.open = True
        else:
            self._unsent.clear()
            self._refuse_rest(reply)

    def _rcpt(self, recipient: EnvelopeRecipient, reply: Reply) -> None:
        if recipient.id in self.replies:
            return  # MAIL was refused, and its reply stands
        if reply.positive:
            self.accepted.append(recipient)
        elif reply.code == 552 and self.accepted:
            # RFC 5321 4.5.3.1.10: 552 here means too many recipients, which is temporary.
            self.replies[recipient.id] = Reply(452, ("4.5.3 Too many recipients", *reply.lines))
            self.crowded.append(recipient.id)
        else:
            self.replies[recipient.id] = reply
            if reply.code == 452 and self.accepted and reply.status not in OTHER_REASONS:
                self.crowded.append(recipient.id)

    def _data(self, reply: Reply) -> None:
        if reply.code == 354:
            self.content_wanted = True
        elif reply.positive:
            self._decide(Reply(451, ("4.5.0 The remote answered DATA with", reply.text)), self.accepted)
        else:
            self._decide(reply, self.accepted)

    def _decide(self, reply: Reply, recipients: Sequence[EnvelopeRecipient]) -> None:
        for recipient in recipients:
            self.replies.setdefault(recipient.id, reply)

    def _refuse_rest(self, reply: Reply) -> None:
        for recipient in self.envelope.recipients:
            self.replies.setdefault(recipient.id, reply)
