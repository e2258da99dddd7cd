"""TLS reports (RFC 8460): the JSON, and the message that carries it. Pure bytes."""

import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from posthorn_mail_format import writing
from posthorn_mail_format.dates import format_date
from posthorn_model.tls_reports import TlsPolicy, TlsSession

MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class TlsReport:
    """One report; `begin` and `end` are in UTC."""

    organization: str
    contact: str
    report_id: str
    domain: str
    begin: datetime
    end: datetime
    rows: Sequence[tuple[TlsSession, int]]

    def file_name(self, submitter: str) -> str:
        """RFC 8460 5.1."""
        return f"{submitter}!{self.domain}!{self.begin.timestamp():.0f}!{self.end.timestamp():.0f}.json.gz"


def write_json(report: TlsReport) -> bytes:
    """The report compressed (RFC 8460 4.4, 5.2)."""
    policies: dict[TlsPolicy, list[tuple[TlsSession, int]]] = {}
    for session, count in report.rows:
        policies.setdefault(session.policy, []).append((session, count))
    told = {
        "organization-name": report.organization,
        "date-range": {"start-datetime": _moment(report.begin), "end-datetime": _moment(report.end)},
        "contact-info": report.contact,
        "report-id": report.report_id,
        "policies": [_policy(policy, rows) for policy, rows in policies.items()],
    }
    return gzip.compress(json.dumps(told, ensure_ascii=False).encode(), mtime=0)


def write_message(report: TlsReport, packed: bytes, *, sender: str, recipients: Sequence[str], at: datetime) -> bytes:
    """The message with the compressed report (RFC 8460 5.3), with CRLF line ends. Raises InvalidAddress.

    It says that it needs no TLS (RFC 8689 4.1): a report on TLS that fails must arrive all the same (RFC 8460 3).
    """
    submitter = sender.rpartition("@")[2]
    name = report.file_name(submitter)
    boundary = "=_tls_report_" + re.sub(r"[^A-Za-z0-9]", "", report.report_id)[:40]
    said = (
        f"This is an aggregate TLS report on sessions with the mail servers of {report.domain}\r\n"
        f"(RFC 8460), from {submitter}.\r\n"
    )
    headers = [
        ("From", writing.address_value(None, sender)),
        ("To", ", ".join(writing.address_value(None, each) for each in recipients)),
        ("Subject", f"Report Domain: {report.domain} Submitter: {submitter} Report-ID: <{report.report_id}>"),
        ("Date", format_date(at)),
        ("Message-ID", writing.ids_value([report.report_id])),
        ("Auto-Submitted", "auto-generated"),
        ("TLS-Report-Domain", report.domain),
        ("TLS-Report-Submitter", submitter),
        ("TLS-Required", "No"),
        ("MIME-Version", "1.0"),
        ("Content-Type", f'multipart/report; report-type="tlsrpt"; boundary="{boundary}"'),
    ]
    text = [("Content-Type", "text/plain; charset=us-ascii")]
    attached = [
        ("Content-Type", "application/tlsrpt+gzip"),
        ("Content-Transfer-Encoding", "base64"),
        ("Content-Disposition", f'attachment; filename="{name}"'),
    ]
    delimiter = f"\r\n--{boundary}".encode()
    return b"".join(
        [
            _fields(headers),
            delimiter + b"\r\n" + _fields(text) + b"\r\n" + said.encode(),
            delimiter + b"\r\n" + _fields(attached) + b"\r\n" + writing.encode_base64(packed),
            delimiter + b"--\r\n",
        ]
    )


def _fields(fields: Sequence[tuple[str, str]]) -> bytes:
    return b"".join(writing.field(name, value) for name, value in fields)


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _policy(policy: TlsPolicy, rows: Sequence[tuple[TlsSession, int]]) -> dict[str, Any]:
    told: dict[str, Any] = {"policy-type": policy.type}
    if policy.strings:
        told["policy-string"] = list(policy.strings)
    told["policy-domain"] = policy.domain
    if policy.mx:
        told["mx-host"] = list(policy.mx)
    failed = [(session, count) for session, count in rows if session.result]
    failures = sum(count for _, count in failed)
    successes = sum(count for _, count in rows) - failures
    summary = {"total-successful-session-count": successes, "total-failure-session-count": failures}
    found: dict[str, Any] = {"policy": told, "summary": summary}
    if failed:
        found["failure-details"] = [_failure(session, count) for session, count in failed]
    return found


def _failure(session: TlsSession, count: int) -> dict[str, Any]:
    told = {
        "result-type": session.result,
        "sending-mta-ip": session.sending_ip,
        "receiving-mx-hostname": session.receiving_host,
        "receiving-ip": session.receiving_ip,
        "failed-session-count": count,
        "failure-reason-code": session.reason[:MAX_REASON],
    }
    return {name: value for name, value in told.items() if value != ""}
