"""DMARC aggregate reports (RFC 7489 7.2, appendix C): the XML, and the message that carries it. Pure bytes."""

import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from xml.sax.saxutils import escape

from posthorn_mail_format import writing
from posthorn_mail_format.dates import format_date
from posthorn_model.dmarc import AuthenticatedDomain, DmarcObservation, PublishedPolicy

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MAX_TEXT = 1000
_LINE = 76


@dataclass(frozen=True, slots=True)
class AggregateReport:
    """One report. `begin` and `end` are in seconds since 1970."""

    organization: str
    email: str
    report_id: str
    begin: int
    end: int
    published: PublishedPolicy
    rows: Sequence[tuple[DmarcObservation, int]]
    contact: str = ""

    def file_name(self, receiver: str) -> str:
        """RFC 7489 7.2.1.1, without what tells of compression."""
        return f"{receiver}!{self.published.domain}!{self.begin}!{self.end}.xml"


def write_xml(report: AggregateReport) -> bytes:
    """The report in the schema of RFC 7489 C."""
    published = report.published
    contact = _tag("extra_contact_info", report.contact) if report.contact else ""
    head = (
        "<report_metadata>"
        + _tag("org_name", report.organization)
        + _tag("email", report.email)
        + contact
        + _tag("report_id", report.report_id)
        + f"<date_range><begin>{report.begin}</begin><end>{report.end}</end></date_range></report_metadata>"
        + "<policy_published>"
        + _tag("domain", published.domain)
        + _tag("adkim", published.dkim_alignment)
        + _tag("aspf", published.spf_alignment)
        + _tag("p", published.policy)
        + _tag("sp", published.subdomain_policy)
        + _tag("pct", str(published.percent))
        + "</policy_published>"
    )
    rows = "\n".join(_record(observation, count) for observation, count in report.rows)
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<feedback><version>1.0</version>{head}\n{rows}\n</feedback>\n'
    return text.encode()


def write_message(
    report: AggregateReport, xml: bytes, *, receiver: str, recipients: Sequence[str], at: datetime
) -> bytes:
    """The message with the report compressed (RFC 7489 7.2.1.1), with CRLF line ends. Raises InvalidAddress."""
    name = report.file_name(receiver) + ".gz"
    packed = writing.encode_base64(gzip.compress(xml, mtime=0))
    boundary = "=_aggregate_" + re.sub(r"[^A-Za-z0-9]", "", report.report_id)[:40]
    said = (
        f"This is an aggregate report on mail in the name of {report.published.domain} (RFC 7489),\r\n"
        f"from {receiver}.\r\n"
    )
    headers = [
        ("From", writing.address_value(None, report.email)),
        ("To", ", ".join(writing.address_value(None, each) for each in recipients)),
        (
            "Subject",
            f"Report Domain: {report.published.domain} Submitter: {receiver} Report-ID: <{report.report_id}>",
        ),
        ("Date", format_date(at)),
        ("Message-ID", writing.ids_value([report.report_id])),
        ("Auto-Submitted", "auto-generated"),
        ("MIME-Version", "1.0"),
        ("Content-Type", f'multipart/mixed; boundary="{boundary}"'),
    ]
    text = [("Content-Type", "text/plain; charset=us-ascii")]
    attached = [
        ("Content-Type", f'application/gzip; name="{name}"'),
        ("Content-Transfer-Encoding", "base64"),
        ("Content-Disposition", f'attachment; filename="{name}"'),
    ]
    delimiter = f"\r\n--{boundary}".encode()
    return b"".join(
        [
            _fields(headers),
            delimiter + b"\r\n" + _fields(text) + b"\r\n" + said.encode(),
            delimiter + b"\r\n" + _fields(attached) + b"\r\n" + packed,
            delimiter + b"--\r\n",
        ]
    )


def _fields(fields: Sequence[tuple[str, str]]) -> bytes:
    return b"".join(writing.field(name, value) for name, value in fields)


def _record(each: DmarcObservation, count: int) -> str:
    override = f"<reason>{_tag('type', each.override)}</reason>" if each.override else ""
    identifiers = _tag("envelope_from", each.envelope_from) + _tag("header_from", each.header_from)
    # SPF must be told of (C); what was not looked at is "none".
    spf = each.spf or (AuthenticatedDomain(each.envelope_from or each.header_from, "none", "mfrom"),)
    return (
        f"<record><row>{_tag('source_ip', each.source)}<count>{count}</count><policy_evaluated>"
        + _tag("disposition", each.disposition)
        + _tag("dkim", "pass" if each.dkim_aligned else "fail")
        + _tag("spf", "pass" if each.spf_aligned else "fail")
        + f"{override}</policy_evaluated></row><identifiers>{identifiers}</identifiers><auth_results>"
        + "".join(_dkim(one) for one in each.dkim)
        + "".join(_spf(one) for one in spf)
        + "</auth_results></record>"
    )


def _dkim(one: AuthenticatedDomain) -> str:
    selector = _tag("selector", one.detail) if one.detail else ""
    return f"<dkim>{_tag('domain', one.domain)}{selector}{_tag('result', one.result)}</dkim>"


def _spf(one: AuthenticatedDomain) -> str:
    scope = _tag("scope", one.detail) if one.detail else ""
    return f"<spf>{_tag('domain', one.domain)}{scope}{_tag('result', one.result)}</spf>"


def _tag(name: str, text: str) -> str:
    return f"<{name}>{escape(_NOT_XML.sub('?', text[:_MAX_TEXT]))}</{name}>"
