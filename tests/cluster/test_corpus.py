"""Every message of the corpus: in by SMTP where SMTP may carry it, by APPEND and import; out the same, to the byte."""

import re
import smtplib

import pytest

from posthorn_mail_auth.results import strip
from posthorn_testkit.cluster import ClusterUnderTest, posthorn
from posthorn_testkit.corpus import carried_by_smtp
from posthorn_testkit.jmap_client import JmapClient

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
SENDER = "sender@example.net"


def new_account(cluster: ClusterUnderTest, name: str) -> tuple[str, str]:
    done = posthorn(
        "account", "add", f"{name}@example.org", "--password", "corpus-secret", "--data", str(cluster.folder)
    )
    assert done.returncode == 0, done.stderr
    return f"{name}@example.org", "corpus-secret"


def imap_contents(cluster: ClusterUnderTest, account: tuple[str, str]) -> list[bytes]:
    client = cluster.imap(account, node=2)
    client.select("INBOX", readonly=True)
    _, data = client.fetch("1:*", "(BODY.PEEK[])")
    client.logout()
    return [part[1] for part in data if isinstance(part, tuple)]


def test_by_smtp(kafka_cluster: ClusterUnderTest, corpus_messages: dict[str, bytes]) -> None:
    """What SMTP may carry arrives behind its trace lines; the rest is refused with a reply and the session lives."""
    account = new_account(kafka_cluster, "corpus-smtp")
    sent, refused = [], []
    with smtplib.SMTP(*kafka_cluster.address("smtp", 1), timeout=60) as client:
        client.ehlo("test.example.net")
        for name, data in corpus_messages.items():
            assert client.mail(SENDER, ["BODY=8BITMIME"])[0] == 250
            assert client.rcpt(account[0])[0] == 250
            assert client.docmd("DATA")[0] == 354
            dotted = re.sub(rb"(?m)^\.", b"..", data)
            client.send(dotted + (b"" if not dotted or dotted.endswith(b"\r\n") else b"\r\n") + b".\r\n")
            code, reply = client.getreply()
            if carried_by_smtp(data):
                assert code == 250, (name, code, reply)
                sent.append(data)
            else:
                assert code in (500, 501, 550, 554), (name, code, reply)
                refused.append(name)
    assert len(sent) > 200
    assert refused
    found = imap_contents(kafka_cluster, account)
    assert len(found) == len(sent)
    by_jmap = list(JmapClient(kafka_cluster, account).contents())
    for stored in (found, by_jmap):
        left = list(stored)
        for data in sent:
            # Of results that do not say whose they are nothing is left (RFC 8601 5); all else is as it was sent.
            kept = strip(data, "node1.localhost")
            match = next(
                (each for each in left if each.endswith(kept) and _only_trace(each[: len(each) - len(kept)])), None
            )
            assert match is not None, data[:200]
            left.remove(match)
        assert left == []


def _only_trace(head: bytes) -> bool:
    fields = re.sub(rb"\r\n[ \t]+", b" ", head).split(b"\r\n")
    known = (b"return-path:", b"received:", b"delivered-to:", b"authentication-results:", b"")
    return all(field.lower().startswith(known) if field else True for field in fields)


def test_by_append_and_import(kafka_cluster: ClusterUnderTest, corpus_messages: dict[str, bytes]) -> None:
    """Every message, also what SMTP may not carry, goes in by APPEND and by import and comes out unchanged."""
    appended = new_account(kafka_cluster, "corpus-append")
    client = kafka_cluster.imap(appended, node=1)
    given = list(corpus_messages.values())
    for data in given:
        client.send(b"a APPEND INBOX {%d}\r\n" % len(data))
        assert client.readline().startswith(b"+")
        client.send(data + b"\r\n")
        while not (line := client.readline()).startswith(b"a "):
            assert line
        assert line.startswith(b"a OK"), line
    client.logout()
    assert sorted(imap_contents(kafka_cluster, appended)) == sorted(given)

    imported = new_account(kafka_cluster, "corpus-import")
    jmap = JmapClient(kafka_cluster, imported)
    inbox = next(box["id"] for box in jmap.call("Mailbox/get", {"ids": None})["list"] if box["role"] == "inbox")
    for data in given:
        emails = {"k": {"blobId": jmap.upload(data), "mailboxIds": {inbox: True}}}
        answer = jmap.call("Email/import", {"emails": emails})
        assert answer["created"], answer
    assert sorted(jmap.contents()) == sorted(given)
    assert sorted(imap_contents(kafka_cluster, imported)) == sorted(given)
