"""TLS reports as RFC 8460 has them: the JSON, and the message, read back by other code."""

import gzip
import json
from datetime import UTC, datetime
from email import message_from_bytes

from posthorn_mail_format.tls_reports import TlsReport, write_json, write_message
from posthorn_model.tls_reports import TlsPolicy, TlsSession

STS = TlsPolicy("sts", "example.net", ("version: STSv1", "mode: enforce"), ("*.example.net",))
PLAIN = TlsPolicy("no-policy-found", "example.net")
FAILED = TlsSession(STS, "certificate-expired", "it is old \u00e9", "192.0.2.1", "mx.example.net", "2001:db8::1")
REPORT = TlsReport(
    organization="Example",
    contact="tls@example.org",
    report_id="20260601.tls.example.net@example.org",
    domain="example.net",
    begin=datetime(2026, 6, 1, tzinfo=UTC),
    end=datetime(2026, 6, 1, 23, 59, 59, tzinfo=UTC),
    rows=[(TlsSession(STS), 5), (FAILED, 3), (TlsSession(STS, "starttls-not-supported"), 1), (TlsSession(PLAIN), 7)],
)


def test_sessions_are_summed_up_by_policy() -> None:
    assert json.loads(gzip.decompress(write_json(REPORT))) == {
        "organization-name": "Example",
        "date-range": {"start-datetime": "2026-06-01T00:00:00Z", "end-datetime": "2026-06-01T23:59:59Z"},
        "contact-info": "tls@example.org",
        "report-id": "20260601.tls.example.net@example.org",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts",
                    "policy-string": ["version: STSv1", "mode: enforce"],
                    "policy-domain": "example.net",
                    "mx-host": ["*.example.net"],
                },
                "summary": {"total-successful-session-count": 5, "total-failure-session-count": 4},
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "sending-mta-ip": "192.0.2.1",
                        "receiving-mx-hostname": "mx.example.net",
                        "receiving-ip": "2001:db8::1",
                        "failed-session-count": 3,
                        "failure-reason-code": "it is old \u00e9",
                    },
                    {"result-type": "starttls-not-supported", "failed-session-count": 1},
                ],
            },
            {
                "policy": {"policy-type": "no-policy-found", "policy-domain": "example.net"},
                "summary": {"total-successful-session-count": 7, "total-failure-session-count": 0},
            },
        ],
    }


def test_the_message_says_what_it_carries_and_needs_no_tls() -> None:
    packed = write_json(REPORT)
    content = write_message(
        REPORT, packed, sender="tls@example.org", recipients=["a@example.net", "b@example.net"], at=REPORT.end
    )
    message = message_from_bytes(content)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "tlsrpt"
    assert message["TLS-Report-Domain"] == "example.net"
    assert message["TLS-Report-Submitter"] == "example.org"
    assert message["TLS-Required"] == "No"
    assert message["To"] == "a@example.net, b@example.net"
    assert message["Subject"].replace("\r\n", "") == (
        "Report Domain: example.net Submitter: example.org Report-ID: <20260601.tls.example.net@example.org>"
    )
    attached = message.get_payload()[1]
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    assert attached.get_filename() == "example.org!example.net!1780272000!1780358399.json.gz"
    assert attached.get_payload(decode=True) == packed
    assert content.count(b"\n") == content.count(b"\r\n")
