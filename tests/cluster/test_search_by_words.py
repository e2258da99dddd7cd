"""What an attached document says is found through JMAP, minutes after nobody did anything for it."""

import smtplib
from email.message import EmailMessage
from typing import Any

import pytest

from posthorn_testkit.cluster import ClusterUnderTest, until
from posthorn_testkit.documents import docx, pdf, shown
from posthorn_testkit.jmap_client import JmapClient

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
WORD = "application", "vnd.openxmlformats-officedocument.wordprocessingml.document"


def send(cluster: ClusterUnderTest, to: str) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "x@example.net", to, "The documents you wanted"
    message.set_content("See the attachments, they were not easy to find.\n")
    letter = "<w:p><w:r><w:t>Zanzibar harbours are closed</w:t></w:r></w:p>"
    message.add_attachment(docx(letter), maintype=WORD[0], subtype=WORD[1], filename="letter.docx")
    report = pdf(shown("Ungulates migrated northwards"))
    message.add_attachment(report, maintype="application", subtype="octet-stream", filename="report.pdf")
    message.add_attachment(b"%PDF-1.4 nothing of the kind", maintype="application", subtype="pdf", filename="torn.pdf")
    with smtplib.SMTP(*cluster.address("smtp", 1), timeout=60) as client:
        client.send_message(message)


def test_attached_documents_are_found(kafka_cluster: ClusterUnderTest) -> None:
    account = kafka_cluster.accounts[1]
    jmap = JmapClient(kafka_cluster, account)

    def found(condition: dict[str, Any]) -> list[str]:
        return list(jmap.call("Email/query", {"filter": condition})["ids"])

    assert found({"body": "zanzibar"}) == []
    send(kafka_cluster, account[0])
    (email,) = found({"subject": "document wanted"})  # at once, whether it is indexed or not
    until("the attachments are read", lambda: found({"body": "zanzibar"}) == [email])
    for condition in (
        {"text": "harbour"},
        {"body": '"harbours are closed"'},
        {"body": "migrating ungulate"},
        {"text": "report.pdf letter.docx"},
        {"operator": "AND", "conditions": [{"body": "northw*"}, {"from": "example.net"}]},
    ):
        assert found(condition) == [email], condition
    for condition in ({"subject": "zanzibar"}, {"body": '"closed harbours"'}, {"body": "zanzibar unheard"}):
        assert found(condition) == [], condition
    snippets = jmap.call("SearchSnippet/get", {"filter": {"text": "attachment"}, "emailIds": [email]})
    assert "the <mark>attachments</mark>" in snippets["list"][0]["preview"]
