"""DMARC aggregate reports: the XML of RFC 7489 C, whatever strangers put into it, and the message around it."""

import gzip
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from xml.etree import ElementTree

from posthorn_mail_format.aggregate_reports import AggregateReport, write_message, write_xml
from posthorn_model.dmarc import AuthenticatedDomain, DmarcObservation, PublishedPolicy

POLICY = PublishedPolicy("example.org", "reject", "quarantine", "r", "s", 50, ("mailto:dmarc@example.org",))
SEEN = DmarcObservation(
    POLICY, "2001:db8::1", "quarantine", True, False, "news.example.org", "bounce@list.example",
    (AuthenticatedDomain("example.org", "pass", "s1"),), (AuthenticatedDomain("list.example", "softfail", "mfrom"),),
    override="sampled_out",
)  # fmt: skip
BEGIN = 1769731200
REPORT = AggregateReport(
    "An Organization", "dmarc@mx.example", "20260130.example.org@mx.example", BEGIN, BEGIN + 86399, POLICY,
    [(SEEN, 7), (replace(SEEN, dkim=(), spf=(), override=""), 1)], contact="https://mx.example/dmarc",
)  # fmt: skip


def texts(element: ElementTree.Element, *paths: str) -> list[str | None]:
    return [element.findtext(path) for path in paths]


def test_the_xml_says_what_was_seen() -> None:
    root = ElementTree.fromstring(write_xml(REPORT))
    assert root.tag == "feedback"
    told = [f"report_metadata/{name}" for name in ("org_name", "report_id", "extra_contact_info")]
    assert texts(root, *told) == [
        "An Organization", "20260130.example.org@mx.example", "https://mx.example/dmarc",
    ]  # fmt: skip
    assert texts(root, "report_metadata/date_range/begin", "report_metadata/date_range/end") == [
        str(BEGIN),
        str(BEGIN + 86399),
    ]
    assert [(each.tag, each.text) for each in root.find("policy_published") or ()] == [
        ("domain", "example.org"), ("adkim", "r"), ("aspf", "s"), ("p", "reject"), ("sp", "quarantine"), ("pct", "50"),
    ]  # fmt: skip
    first, second = root.findall("record")
    assert texts(first, "row/source_ip", "row/count", "row/policy_evaluated/disposition") == [
        "2001:db8::1", "7", "quarantine",
    ]  # fmt: skip
    evaluated = ("row/policy_evaluated/dkim", "row/policy_evaluated/spf", "row/policy_evaluated/reason/type")
    assert texts(first, *evaluated) == ["pass", "fail", "sampled_out"]
    assert texts(first, "identifiers/envelope_from", "identifiers/header_from") == [
        "bounce@list.example", "news.example.org",
    ]  # fmt: skip
    assert texts(first, "auth_results/dkim/domain", "auth_results/dkim/selector", "auth_results/dkim/result") == [
        "example.org", "s1", "pass",
    ]  # fmt: skip
    assert texts(first, "auth_results/spf/domain", "auth_results/spf/scope", "auth_results/spf/result") == [
        "list.example", "mfrom", "softfail",
    ]  # fmt: skip
    assert texts(second, "auth_results/dkim/domain", "auth_results/spf/result", *evaluated[2:]) == [None, "none", None]


def test_what_strangers_write_cannot_leave_its_place() -> None:
    hostile = replace(
        SEEN, header_from="</header_from><x>&", envelope_from="a\0\x1b\ud800\uffff]]>" + "y" * 5000, source='"<'
    )
    root = ElementTree.fromstring(write_xml(replace(REPORT, rows=[(hostile, 1)])))
    assert root.findtext("record/identifiers/header_from") == "</header_from><x>&"
    assert str(root.findtext("record/identifiers/envelope_from")).startswith("a????]]>yyy")
    assert len(str(root.findtext("record/identifiers/envelope_from"))) == 1000


def test_the_message_carries_it_compressed() -> None:
    xml = write_xml(REPORT)
    to = ["dmarc@example.org", "else@example.org"]
    content = write_message(REPORT, xml, receiver="mx.example", recipients=to, at=datetime(2026, 1, 31, tzinfo=UTC))
    assert content.isascii()
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert max(map(len, content.split(b"\r\n"))) <= 200
    message = message_from_bytes(content)
    assert message["Subject"].replace("\r\n", "") == (
        "Report Domain: example.org Submitter: mx.example Report-ID: <20260130.example.org@mx.example>"
    )
    assert (message["To"], message["From"]) == ("dmarc@example.org, else@example.org", "dmarc@mx.example")
    assert message["Auto-Submitted"] == "auto-generated"
    said, attached = message.get_payload()
    assert "aggregate report" in said.get_payload()
    assert attached.get_content_type() == "application/gzip"
    assert attached.get_filename() == f"mx.example!example.org!{BEGIN}!{BEGIN + 86399}.xml.gz"
    assert gzip.decompress(attached.get_payload(decode=True)) == xml
