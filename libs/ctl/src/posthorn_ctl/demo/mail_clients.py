"""The mail clients of the demonstration: submission and IMAP with IDLE, over Python's smtplib and imaplib."""

import imaplib
import smtplib
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from types import TracebackType

from posthorn_ctl.demo.target import DemoFailed, Endpoint, Login

TIMEOUT = 30.0
ATTACHMENT = bytes(range(256)) * 64


def trusting() -> ssl.SSLContext:
    """A TLS context for the cluster's self-signed certificate: encrypted, not verified."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def compose(sender: str, recipient: str, subject: str) -> EmailMessage:
    """A message with a text, an HTML alternative and two attachments."""
    message = EmailMessage()
    message["From"] = f"Ann Example <{sender}>"
    message["To"] = f"Bob Example <{recipient}>"
    message["Subject"] = subject
    message["Message-ID"] = f"<{time.time_ns()}.demo@{sender.rpartition('@')[2]}>"
    message.set_content("Grüße from one node to another.\n\nThe horn is blown; the mail is in.\n")
    message.add_alternative("<p>Grüße from <b>one node</b> to another.</p>", subtype="html")
    message.add_attachment(ATTACHMENT, maintype="application", subtype="octet-stream", filename="posthorn.bin")
    message.add_attachment("a;b\n1;2\n", subtype="csv", filename="zahlen-für-bob.csv")
    return message


def submit(endpoint: Endpoint, login: Login, message: EmailMessage, recipient: str) -> None:
    """Send by submission with STARTTLS and AUTH PLAIN. Raises DemoFailed with the server's words."""
    try:
        with smtplib.SMTP(endpoint.host, endpoint.port, timeout=TIMEOUT) as client:
            client.starttls(context=trusting())
            client.login(login.name, login.password)
            client.send_message(message, login.name, [recipient])
    except (smtplib.SMTPException, OSError) as error:
        raise DemoFailed(f"submission at {endpoint.host}:{endpoint.port} failed: {error}") from error


class Idler:
    """One IMAP connection with the inbox selected that can IDLE (RFC 2177)."""

    def __init__(self, endpoint: Endpoint, login: Login) -> None:
        try:
            self._client = imaplib.IMAP4(endpoint.host, endpoint.port, timeout=TIMEOUT)
            self._client.starttls(trusting())
            self._client.login(login.name, login.password)
            _, data = self._client.select("INBOX")
        except (imaplib.IMAP4.error, OSError) as error:
            raise DemoFailed(f"IMAP at {endpoint.host}:{endpoint.port} failed: {error}") from error
        self.exists = int(data[0] or b"0")

    def __enter__(self) -> "Idler":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._client.logout()
        except (imaplib.IMAP4.error, OSError):
            self._client.shutdown()

    @contextmanager
    def idling(self) -> Iterator[None]:
        """IDLE while the block runs; wait_for_more may be called in it."""
        self._client.send(b"demo IDLE\r\n")
        self._expect(b"+")
        yield
        self._client.send(b"DONE\r\n")
        self._expect(b"demo OK")

    def wait_for_more(self) -> int:
        """Wait for an EXISTS that is larger than the last one. Raises DemoFailed after 30 s of silence."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            words = self._line().split()
            if len(words) == 3 and words[0] == b"*" and words[2].upper() == b"EXISTS" and int(words[1]) > self.exists:
                self.exists = int(words[1])
                return self.exists
        raise DemoFailed("the IDLE client heard nothing of the new message within 30 s")

    def subjects(self, mailbox: str) -> list[str]:
        """The Subject lines in a mailbox, raw."""
        self._client.select(f'"{mailbox}"', readonly=True)
        _, data = self._client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        return [part[1].decode("utf-8", "replace").strip() for part in data or [] if isinstance(part, tuple)]

    def _line(self) -> bytes:
        try:
            line: bytes = self._client.readline()
        except OSError as error:
            raise DemoFailed(f"the IDLE connection broke: {error}") from error
        if not line:
            raise DemoFailed("the server closed the IDLE connection")
        return line

    def _expect(self, start: bytes) -> None:
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            line = self._line()
            if line.startswith(start):
                return
            if not line.startswith(b"*"):
                raise DemoFailed(f"IMAP answered {line!r} where {start!r} was expected")
        raise DemoFailed(f"IMAP did not answer {start!r} within 30 s")
