"""Every message of the corpus: in by SMTP where SMTP may carry it, by APPEND and import; out the same, to the byte."""

import base64
import json
import re
import smtplib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from posthorn_testkit.cluster import ClusterUnderTest, posthorn

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
SENDER = "sender@example.net"
MAX_LINE = 998


def with_crlf(data: bytes) -> bytes:
    """Bare LF made CRLF; a last line without an end gets one."""
    found = re.sub(rb"(?<!\r)\n", b"\r\n", data)
    return found if found.endswith(b"\r\n") or not found else found + b"\r\n"


def smtp_may_carry(data: bytes) -> bool:
    """RFC 5321 2.3.8, 4.5.3.1.6, RFC 5322 2.3: no bare CR or LF, no NUL, no line above 998 octets."""
    if re.search(rb"\r(?!\n)|(?<!\r)\n|\0", data) or not data:
        return False
    return all(len(line) <= MAX_LINE for line in data.split(b"\r\n"))


class Jmap:
    """As little of a JMAP client as the test needs."""

    def __init__(self, cluster: ClusterUnderTest, account: tuple[str, str]) -> None:
        self._token = "Basic " + base64.b64encode(":".join(account).encode()).decode()
        session = json.loads(self.http(cluster.url("jmap", 2) + "/.well-known/jmap"))
        self.session = session
        self.account = session["primaryAccounts"]["urn:ietf:params:jmap:mail"]

    def http(self, url: str, data: bytes | None = None, kind: str = "application/json") -> bytes:
        request = urllib.request.Request(url, data, {"Authorization": self._token, "Content-Type": kind})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        using = ["urn:ietf:params:jmap:core", "urn:ietf:params:jmap:mail"]
        calls = [[name, {"accountId": self.account, **arguments}, "c"]]
        answer = json.loads(
            self.http(self.session["apiUrl"], json.dumps({"using": using, "methodCalls": calls}).encode())
        )
        found_name, found, _ = answer["methodResponses"][0]
        assert found_name == name, found
        return found

    def blobs(self) -> Iterator[bytes]:
        """The bytes of every email of the account."""
        ids: list[str] = []
        while True:
            page = self.call("Email/query", {"position": len(ids), "limit": 200, "sort": [{"property": "receivedAt"}]})
            ids += page["ids"]
            if len(page["ids"]) < 200:
                break
        for start in range(0, len(ids), 100):
            found = self.call("Email/get", {"ids": ids[start : start + 100], "properties": ["blobId"]})
            assert found["notFound"] == []
            for email in found["list"]:
                yield self.download(email["blobId"])

    def download(self, blob: str) -> bytes:
        url = self.session["downloadUrl"].replace("{accountId}", self.account).replace("{blobId}", blob)
        return self.http(url.replace("{name}", "m.eml").replace("{type}", "message/rfc822"))

    def upload(self, data: bytes) -> str:
        url = self.session["uploadUrl"].replace("{accountId}", self.account)
        return str(json.loads(self.http(url, data, "message/rfc822"))["blobId"])


@pytest.fixture(scope="module")
def messages(corpus_folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in (corpus_folder / "messages").rglob("*") if path.is_file())
    found = {str(path.relative_to(corpus_folder)): with_crlf(path.read_bytes()) for path in paths}
    assert len(found) > 200
    return found


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


def test_by_smtp(kafka_cluster: ClusterUnderTest, messages: dict[str, bytes]) -> None:
    """What SMTP may carry arrives behind its trace lines; the rest is refused with a reply and the session lives."""
    account = new_account(kafka_cluster, "corpus-smtp")
    sent, refused = [], []
    with smtplib.SMTP(*kafka_cluster.address("smtp", 1), timeout=60) as client:
        client.ehlo("test.example.net")
        for name, data in messages.items():
            assert client.mail(SENDER, ["BODY=8BITMIME"])[0] == 250
            assert client.rcpt(account[0])[0] == 250
            assert client.docmd("DATA")[0] == 354
            dotted = re.sub(rb"(?m)^\.", b"..", data)
            client.send(dotted + (b"" if not dotted or dotted.endswith(b"\r\n") else b"\r\n") + b".\r\n")
            code, reply = client.getreply()
            if smtp_may_carry(data):
                assert code == 250, (name, code, reply)
                sent.append(data)
            elif code != 250:
                assert code in (500, 501, 550, 554), (name, code, reply)
                refused.append(name)
            else:
                sent.append(data)
    assert len(sent) > 150
    found = imap_contents(kafka_cluster, account)
    assert len(found) == len(sent)
    by_jmap = list(Jmap(kafka_cluster, account).blobs())
    for stored in (found, by_jmap):
        left = list(stored)
        for data in sent:
            match = next(
                (each for each in left if each.endswith(data) and _only_trace(each[: len(each) - len(data)])), None
            )
            assert match is not None, data[:200]
            left.remove(match)
        assert left == []


def _only_trace(head: bytes) -> bool:
    fields = re.sub(rb"\r\n[ \t]+", b" ", head).split(b"\r\n")
    known = (b"return-path:", b"received:", b"delivered-to:", b"authentication-results:", b"")
    return all(field.lower().startswith(known) if field else True for field in fields)


def test_by_append_and_import(kafka_cluster: ClusterUnderTest, messages: dict[str, bytes]) -> None:
    """Every message, also what SMTP may not carry, goes in by APPEND and by import and comes out unchanged."""
    appended = new_account(kafka_cluster, "corpus-append")
    client = kafka_cluster.imap(appended, node=1)
    given = [data for data in messages.values() if data and b"\0" not in data]
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
    jmap = Jmap(kafka_cluster, imported)
    inbox = next(box["id"] for box in jmap.call("Mailbox/get", {"ids": None})["list"] if box["role"] == "inbox")
    everything = [data for data in messages.values() if data]
    for data in everything:
        emails = {"k": {"blobId": jmap.upload(data), "mailboxIds": {inbox: True}}}
        answer = jmap.call("Email/import", {"emails": emails})
        assert answer["created"], answer
    assert sorted(jmap.blobs()) == sorted(everything)
    assert sorted(imap_contents(kafka_cluster, imported)) == sorted(everything)
