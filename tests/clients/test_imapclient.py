"""IMAPClient and aioimaplib, two more readings of the protocol: what they make of the answers is what was said."""

import asyncio
import ssl
from datetime import UTC, datetime

import aioimaplib
import pytest
from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError
from tests.clients.mailboxes import Account, Seen, letter

from posthorn_testkit.cluster import ClusterUnderTest

pytestmark = [pytest.mark.cluster, pytest.mark.peers]
SECONDS = 60
RECEIVED = datetime(2024, 3, 1, 10, 0, tzinfo=UTC)
MULTIPART = (
    b'From: "Ann, A." <ann@example.net>\r\nTo: b@example.org\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n'
    b"Message-ID: <whole@example.net>\r\nDate: Fri, 1 Mar 2024 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ntext\r\n"
    b'--b\r\nContent-Type: application/pdf; name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n'
)


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def client_of(cluster: ClusterUnderTest, account: Account) -> IMAPClient:
    host, port = cluster.address("imaps", 1)
    client = IMAPClient(host, port, ssl_context=trusting(), timeout=SECONDS)
    client.login(*account)
    return client


def pushed(client: IMAPClient, word: bytes) -> list[tuple[object, ...]]:
    """The first answers with this word that come while it idles; others may come before them."""
    while answers := client.idle_check(timeout=SECONDS):
        if found := [each for each in answers if word in each]:
            return found
    raise AssertionError(f"nothing told of {word!r}")


def test_imapclient_parses_what_is_fetched(cluster: ClusterUnderTest, account: Account) -> None:
    client = client_of(cluster, account)
    assert client.append("INBOX", MULTIPART, (b"\\Flagged", b"$Label"), RECEIVED).startswith(b"[APPENDUID ")
    assert client.select_folder("INBOX")[b"EXISTS"] == 1
    wanted = ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "BODY.PEEK[2]<0.3>", "MODSEQ"]
    found = client.fetch(1, wanted)[1]
    envelope = found[b"ENVELOPE"]
    assert envelope.subject == b"=?utf-8?q?gr=C3=BC=C3=9Fe?="
    sender = envelope.from_[0]
    assert (sender.name, sender.mailbox, sender.host) == (b"Ann, A.", b"ann", b"example.net")
    assert envelope.message_id == b"<whole@example.net>"
    structure = found[b"BODYSTRUCTURE"]
    assert structure.is_multipart
    assert [part[:2] for part in structure[0]] == [(b"text", b"plain"), (b"application", b"pdf")]
    assert found[b"INTERNALDATE"].astimezone(UTC).replace(tzinfo=UTC) == RECEIVED
    assert found[b"RFC822.SIZE"] == len(MULTIPART)
    assert found[b"BODY[2]<0>"] == b"AAA"
    assert set(found[b"FLAGS"]) >= {b"\\Flagged", b"$label"}, "of a keyword the case has no meaning"
    assert found[b"MODSEQ"][0] > 0
    client.logout()


def test_imapclient_keeps_house(cluster: ClusterUnderTest, account: Account) -> None:
    client = client_of(cluster, account)
    assert client.id_({"name": "a test"})[0][1] == b"Posthorn"
    assert client.namespace().personal == (("", "/"),)
    assert client.find_special_folder(b"\\Trash") == "Trash"
    client.create_folder("Entwürfe & mehr/Über")
    assert client.folder_exists("Entwürfe & mehr/Über")
    client.subscribe_folder("Entwürfe & mehr/Über")
    assert "Entwürfe & mehr/Über" in [name for _, _, name in client.list_sub_folders()]
    client.rename_folder("Entwürfe & mehr/Über", "日本語")
    # MULTIAPPEND (RFC 3502) in literals without waiting.
    client.multiappend("日本語", [letter("first"), {"msg": letter("second"), "flags": ["\\Seen"]}, letter("third")])
    assert client.folder_status("日本語", ["MESSAGES", "UNSEEN", "UIDNEXT"]) == {
        b"MESSAGES": 3,
        b"UNSEEN": 2,
        b"UIDNEXT": 4,
    }
    client.select_folder("日本語")
    assert client.search(["OR", "SUBJECT", "first", "SEEN"]) == [1, 2]
    assert client.search(["SUBJECT", "grüße", "SUBJECT", "Ärger"], charset="UTF-8") == []
    assert client.sort("REVERSE ARRIVAL") == [3, 2, 1]
    assert client.thread("REFERENCES") == ((1,), (2,), (3,))
    assert set(client.add_flags([1, 3], ["\\Deleted", "work"])[1]) >= {b"\\Deleted", b"work"}
    assert set(client.get_flags([3])[3]) >= {b"\\Deleted", b"work"}
    client.uid_expunge([1])
    assert client.search() == [2, 3]
    client.move([2], "Archive")
    client.copy([3], "Archive")
    assert client.search() == [3]
    assert client.get_quota_root("INBOX")[0].quota_roots
    client.unselect_folder()
    client.delete_folder("日本語")
    with pytest.raises(IMAPClientError, match="NONEXISTENT"):
        client.select_folder("日本語")
    client.logout()


def test_imapclient_waits_for_what_happens_elsewhere(cluster: ClusterUnderTest, account: Account) -> None:
    client, far = client_of(cluster, account), Seen(cluster, account, 2)
    client.select_folder("INBOX")
    client.idle()
    far.append("INBOX", "first")
    assert (1, b"EXISTS") in pushed(client, b"EXISTS")
    far.store("INBOX", "first", "+FLAGS", "(\\Flagged)")
    (told,) = pushed(client, b"FETCH")
    assert b"\\Flagged" in told[2][1]
    _, rest = client.idle_done()
    assert rest == []
    client.logout()


async def test_aioimaplib_idles_and_pipelines(cluster: ClusterUnderTest, account: Account) -> None:
    host, port = cluster.address("imaps", 1)
    client = aioimaplib.IMAP4_SSL(host, port, timeout=SECONDS, ssl_context=trusting())
    await client.wait_hello_from_server()
    assert (await client.login(*account)).result == "OK"
    assert (await client.id(name="a test")).result == "OK"
    assert (await client.select("INBOX")).result == "OK"
    idle = await client.idle_start(timeout=SECONDS)
    await asyncio.to_thread(Seen(cluster, account, 2).append, "INBOX", "first", "second")
    told: list[bytes] = []
    while b"2 EXISTS" not in told:
        told += await client.wait_server_push(SECONDS)
    client.idle_done()
    await asyncio.wait_for(idle, SECONDS)
    # Several commands on the wire at once.
    flags, body, found, status = await asyncio.gather(
        client.fetch("1:2", "(UID FLAGS)"),
        client.fetch("1", "(BODY.PEEK[])"),
        client.uid_search("ALL"),
        client.status("Archive", "(MESSAGES)"),
    )
    assert [each.result for each in (flags, body, found, status)] == ["OK"] * 4
    assert letter("first") in body.lines
    assert found.lines[0] == b"1 2"
    assert (await client.uid("store", "1", "+FLAGS (\\Deleted)")).result == "OK"
    assert (await client.expunge()).result == "OK"
    assert (await client.append(letter("third"), mailbox="INBOX", flags="\\Seen")).result == "OK"
    assert (await client.uid("move", "2", "Archive")).result == "OK"
    assert (await client.uid_search("ALL")).lines[0] == b"3"
    assert (await client.logout()).result == "OK"
