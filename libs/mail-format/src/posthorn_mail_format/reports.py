"""Delivery status notifications: multipart/report (RFC 3462) with message/delivery-status (RFC 3464), also in the
internationalized form of RFC 6533. Pure bytes; who gets one and when is decided elsewhere (RFC 3461).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from posthorn_mail_format import writing
from posthorn_mail_format.charsets import clean
from posthorn_mail_format.dates import format_date
from posthorn_mail_format.headers import header_end

Action = Literal["failed", "delayed", "delivered", "relayed", "expanded"]
MAX_RETURNED = 262_144
"""Octets of a message that are returned in full; of a longer one only the headers are (RFC 3464 2)."""
MAX_RETURNED_HEADERS = 65_536

_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_UTF8_XTEXT = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_SUBJECTS: dict[Action, str] = {
    "failed": "Undelivered mail: your message could not be delivered",
    "delayed": "Delayed mail: your message is still being tried",
    "delivered": "Delivered mail: your message has arrived",
    "relayed": "Relayed mail: your message was passed on",
    "expanded": "Expanded mail: your message was passed on to several recipients",
}
_OPENINGS: dict[Action, str] = {
    "failed": "Your message could not be delivered to:",
    "delayed": "Your message could not be delivered yet and is still being tried, for:",
    "delivered": "Your message was delivered to:",
    "relayed": "Your message was passed on to a system that sends no delivery notices, for:",
    "expanded": "Your message was passed on to the members of:",
}
_ORDER: tuple[Action, ...] = ("failed", "delayed", "delivered", "relayed", "expanded")


@dataclass(frozen=True, slots=True)
class ReportedRecipient:
    """What happened to one recipient (RFC 3464 2.3)."""

    address: str
    action: Action
    status: str
    """Enhanced status code, "5.1.1"."""
    diagnostic: str = ""
    """The remote's SMTP reply, on one line, or our own reason."""
    remote: str = ""
    """Host name of who replied; "" when nobody did."""
    original: str | None = None
    """RFC 3461 ORCPT as given ("rfc822;ann+2Bx@example.org", xtext)."""
    last_attempt: datetime | None = None
    retry_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """One notification. `reporter` is our host name, `sender` its From address, `recipient` the original sender."""

    reporter: str
    sender: str
    recipient: str
    recipients: Sequence[ReportedRecipient]
    date: datetime
    message_id: str
    """Without angle brackets."""
    arrived_at: datetime | None = None
    envelope_id: str | None = None
    """RFC 3461 ENVID as given (xtext)."""


def write_dsn(report: DeliveryReport, original: bytes, *, return_full: bool) -> bytes:
    """Return the notification as a whole message with CRLF line ends.

    `original` is the message or its beginning; with `return_full` all of it is returned when it is not too long, else
    its headers. The result needs 8BITMIME when it is not ASCII, and SMTPUTF8 when the recipient's address is not.
    """
    parts = [_human_text(report), _delivery_status(report), _returned(original, return_full=return_full)]
    boundary = "=_report_" + re.sub(r"[^A-Za-z0-9]", "", report.message_id)[:40]
    while any(boundary.encode("ascii") in part for part in parts):
        boundary += "x"
    headers = [
        ("From", writing.address_value("Mail Delivery System", report.sender)),
        ("To", writing.address_value(None, report.recipient)),
        ("Subject", _SUBJECTS[_leading(report.recipients)]),
        ("Date", format_date(report.date)),
        ("Message-ID", writing.ids_value([report.message_id])),
        # RFC 3834 5: no responder answers this.
        ("Auto-Submitted", "auto-replied"),
        ("MIME-Version", "1.0"),
        ("Content-Type", f'multipart/report; report-type=delivery-status; boundary="{boundary}"'),
    ]
    if not all(part.isascii() for part in parts):
        headers.append(("Content-Transfer-Encoding", "8bit"))
    delimiter = b"\r\n--" + boundary.encode("ascii")
    body = b"".join(delimiter + b"\r\n" + part for part in parts) + delimiter + b"--\r\n"
    return b"".join(writing.field(name, value) for name, value in headers) + body


def decode_xtext(text: str) -> str:
    """Return xtext (RFC 3461 4) or utf-8-addr-xtext (RFC 6533 3) decoded, on one line."""
    text = _UTF8_XTEXT.sub(lambda match: _character(int(match[1], 16)), text)
    octets = _XTEXT.sub(lambda match: chr(int(match[1], 16)), text)
    return _one_line(octets)


def _leading(recipients: Sequence[ReportedRecipient]) -> Action:
    """The action that names the report: the worst."""
    actions = {recipient.action for recipient in recipients}
    return next((action for action in _ORDER if action in actions), "failed")


def _human_text(report: DeliveryReport) -> bytes:
    lines = [f"This is the mail system at {_one_line(report.reporter)}.", ""]
    for action in _ORDER:
        concerned = [recipient for recipient in report.recipients if recipient.action == action]
        if not concerned:
            continue
        lines += [_OPENINGS[action], ""]
        for recipient in concerned:
            lines.append(f"  <{_one_line(recipient.address)}>")
            if recipient.diagnostic:
                said = f"{_one_line(recipient.remote)} said: " if recipient.remote else ""
                lines.append(f"    {said}{_one_line(recipient.diagnostic)}")
            if recipient.retry_until is not None:
                lines.append(f"    It will be tried until {format_date(recipient.retry_until)}.")
        lines.append("")
    if _leading(report.recipients) == "delayed":
        lines += ["You need not send the message again.", ""]
    encoding, body = writing.encode_text("\r\n".join(lines).encode())
    return _entity("text/plain; charset=utf-8", encoding, body)


def _delivery_status(report: DeliveryReport) -> bytes:
    international = not all(recipient.address.isascii() for recipient in report.recipients)
    blocks = [[("Reporting-MTA", f"dns; {_one_line(report.reporter)}")]]
    if report.envelope_id:
        blocks[0].insert(0, ("Original-Envelope-Id", decode_xtext(report.envelope_id)))
    if report.arrived_at is not None:
        blocks[0].append(("Arrival-Date", format_date(report.arrived_at)))
    blocks += [_status_fields(recipient) for recipient in report.recipients]
    body = b"\r\n".join(b"".join(writing.field(*one) for one in block) for block in blocks)
    if international or not body.isascii():
        return _entity("message/global-delivery-status", "8bit", body)
    return _entity("message/delivery-status", "7bit", body)


def _status_fields(recipient: ReportedRecipient) -> list[tuple[str, str]]:
    kind = "rfc822" if recipient.address.isascii() else "utf-8"
    fields: list[tuple[str, str]] = []
    if recipient.original and ";" in recipient.original:
        original_kind, _, address = recipient.original.partition(";")
        fields.append(("Original-Recipient", f"{_one_line(original_kind)};{decode_xtext(address)}"))
    fields.append(("Final-Recipient", f"{kind};{_one_line(recipient.address)}"))
    fields.append(("Action", recipient.action))
    fields.append(("Status", recipient.status))
    if recipient.remote:
        fields.append(("Remote-MTA", f"dns;{_one_line(recipient.remote)}"))
    if recipient.diagnostic:
        # "smtp" only for what an SMTP server really replied (RFC 3464 2.3.6).
        kind = "smtp" if recipient.remote else "X-Posthorn"
        fields.append(("Diagnostic-Code", f"{kind};{_one_line(recipient.diagnostic)}"))
    if recipient.last_attempt is not None:
        fields.append(("Last-Attempt-Date", format_date(recipient.last_attempt)))
    if recipient.retry_until is not None and recipient.action == "delayed":
        fields.append(("Will-Retry-Until", format_date(recipient.retry_until)))
    return fields


def _returned(original: bytes, *, return_full: bool) -> bytes:
    if return_full and len(original) <= MAX_RETURNED:
        content = writing.canonical(original)
        header = content[: header_end(content, 0, len(content))]
        kind = "message/rfc822" if header.isascii() else "message/global"
        return _entity(kind, "7bit" if content.isascii() else "8bit", content)
    end = header_end(original, 0, len(original))
    header = writing.canonical(original[: min(end, MAX_RETURNED_HEADERS)])
    if header.isascii():
        return _entity("text/rfc822-headers", "7bit", header)
    return _entity("message/global-headers", "8bit", header)


def _entity(content_type: str, encoding: str, body: bytes) -> bytes:
    fields = [("Content-Type", content_type), ("Content-Transfer-Encoding", encoding)]
    return b"".join(writing.field(name, value) for name, value in fields) + b"\r\n" + body


def _character(code: int) -> str:
    return chr(code) if code < 0x110000 else "\ufffd"


def _one_line(text: str) -> str:
    return _CONTROL.sub(" ", clean(text)).strip()[:2000]
