"""Replies as values (RFC 5321 4.2, enhanced status codes of RFC 2034 and RFC 3463). Not concerned with when."""

import re
from dataclasses import dataclass

MAX_TEXT = 440
"""Octets of text on one reply line; with code and status it stays under the 512 of RFC 5321 4.5.3.1.5."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply. `status` is "" where RFC 2034 4 puts none (greeting, EHLO, 3yz); `lines` is one line or more."""

    code: int
    status: str
    lines: tuple[str, ...]

    @property
    def positive(self) -> bool:
        """Whether the command was accepted (2yz, 3yz)."""
        return self.code < 400

    def encode(self) -> bytes:
        """The bytes on the wire, with "-" on all lines but the last."""
        prefix = f"{self.status} " if self.status else ""
        if len(self.lines) == 1:
            return f"{self.code} {prefix}{_clean(self.lines[0])}\r\n".encode("ascii", "replace")
        last = len(self.lines) - 1
        return b"".join(
            f"{self.code}{' ' if number == last else '-'}{prefix}{_clean(line)}\r\n".encode("ascii", "replace")
            for number, line in enumerate(self.lines)
        )


def _clean(text: str) -> str:
    """Text of one line: no control characters, bounded."""
    return (text if text.isprintable() else _CONTROLS.sub(" ", text))[:MAX_TEXT]


def reply(code: int, status: str, *lines: str) -> Reply:
    """Build a reply from its lines."""
    return Reply(code, status, lines)


OK = reply(250, "2.0.0", "OK")
RESET = reply(250, "2.0.0", "Reset")
BYE = reply(221, "2.0.0", "Bye")
SENDER_OK = reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = reply(250, "2.1.5", "Recipient OK")
START_CONTENT = reply(354, "", "Start mail input; end with <CRLF>.<CRLF>")
START_TLS = reply(220, "2.0.0", "Ready to start TLS")
UNKNOWN_COMMAND = reply(500, "5.5.1", "Command not recognized")
NOT_IMPLEMENTED = reply(502, "5.5.1", "Command not implemented")
LINE_TOO_LONG = reply(500, "5.5.2", "Line too long")
BARE_LINE_END = reply(500, "5.5.2", "Commands end with CRLF (RFC 5321 2.3.8)")
BAD_CHARACTERS = reply(500, "5.5.2", "Control or 8-bit characters in a command")
OUT_OF_SEQUENCE = reply(503, "5.5.1", "Bad sequence of commands")
HELLO_FIRST = reply(503, "5.5.1", "Say EHLO first")
NO_SENDER = reply(503, "5.5.1", "Need MAIL first")
NO_RECIPIENTS = reply(503, "5.5.1", "No valid recipients")
NESTED_MAIL = reply(503, "5.5.1", "A transaction is already open")
