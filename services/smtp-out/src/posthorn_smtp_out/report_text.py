"""The octets of a delivery status notification (RFC 3464) in a multipart/report (RFC 6522). Pure text, no store."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from posthorn_model.queue_items import DueRecipient, Outcome

MAX_RETURNED = 65_536
"""Octets of the original that go back; of more only its header section does."""
MAX_HEADER = 32_768

_SUBJECTS = {
    "failed": "Undelivered mail returned to sender",
    "relayed": "Successful mail delivery report",
    "delivered": "Successful mail delivery report",
}
_OPENINGS = {
    "failed": "Your message could not be delivered to the following recipients.",
    "relayed": "Your message was passed on to a system that will not report its delivery.",
    "delivered": "Your message was delivered to the following recipients.",
}


@dataclass(frozen=True, slots=True)
class Report:
    """One notification: all recipients of one message with the same fate."""

    action: str
    """"failed", "relayed" or "delivered" (RFC 3464 2.3.3)."""
    recipients: Sequence[tuple[DueRecipient, Outcome]]
    original: bytes
    hostname: str
    at: datetime
    identity: str
    """Unique: the left side of its Message-ID, and its boundary."""


def compose(report: Report) -> bytes:
    """The whole message with CRLF line ends, to the sender of the first recipient's message."""
    first = report.recipients[0][0]
    utf8 = first.smtputf8 or not all(due.address.isascii() for due, _ in report.recipients)
    boundary = f"=_{report.identity}"
    returned, kind = _returned(report.original, full=first.ret == "FULL" and report.action == "failed")
    status_type = "message/global-delivery-status" if utf8 else "message/delivery-status"  # RFC 6533 3
    head = [
        f"From: Mail Delivery System <postmaster@{report.hostname}>",
        f"To: <{first.sender}>",
        f"Subject: {_SUBJECTS[report.action]}",
        f"Date: {format_datetime(report.at)}",
        f"Message-ID: <{report.identity}@{report.hostname}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
        "",
    ]
    parts = [
        ["Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "", *_text(report), ""],
        [f"Content-Type: {status_type}", *_eight_bit(utf8), "", *_fields(report, utf8=utf8)],
        [f"Content-Type: {kind}", *_eight_bit(not returned.isascii()), ""],
    ]
    lines = head + [line for part in parts for line in (f"--{boundary}", *part)]
    top = "".join(f"{line}\r\n" for line in lines).encode("utf-8", "replace")
    return top + returned + f"\r\n--{boundary}--\r\n".encode()


def _text(report: Report) -> list[str]:
    lines = [f"This is the mail system at {report.hostname}.", "", _OPENINGS[report.action], ""]
    for due, outcome in report.recipients:
        lines += [f"<{due.address}>: {outcome.status}", f"    {outcome.reply}"[:900]]
    return lines


def _fields(report: Report, *, utf8: bool) -> list[str]:
    first = report.recipients[0][0]
    lines = [f"Original-Envelope-Id: {first.envid}"] if first.envid else []
    lines += [f"Reporting-MTA: dns; {report.hostname}", f"Arrival-Date: {format_datetime(first.created_at)}", ""]
    kind = "utf-8" if utf8 else "rfc822"
    for due, outcome in report.recipients:
        lines += [f"Original-Recipient: {due.orcpt}"] if due.orcpt else []
        lines += [f"Final-Recipient: {kind}; {due.address}", f"Action: {report.action}", f"Status: {outcome.status}"]
        if outcome.remote:
            lines.append(f"Remote-MTA: dns; {outcome.remote.partition(' ')[0]}")
            lines.append(f"Diagnostic-Code: smtp; {_one_line(outcome.reply, utf8=utf8)}")
        lines += [f"Last-Attempt-Date: {format_datetime(report.at)}", ""]
    return lines


def _one_line(text: str, *, utf8: bool) -> str:
    kept = text if utf8 else text.encode("ascii", "replace").decode()
    return kept[:900]


def _eight_bit(wanted: bool) -> list[str]:
    return ["Content-Transfer-Encoding: 8bit"] if wanted else []


def _returned(original: bytes, *, full: bool) -> tuple[bytes, str]:
    """What goes back of the original: all of it when asked for and small, else its header section (RFC 3461 4.3)."""
    if full and len(original) <= MAX_RETURNED:
        return original, "message/rfc822"
    head, _, _ = original[: MAX_HEADER + 4].partition(b"\r\n\r\n")
    return head[:MAX_HEADER] + b"\r\n", "text/rfc822-headers"
