"""Every message of the corpus, also the malformed ones, goes in by Email/import, is shown, and comes back as it was."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.postgres
_LINE_END = re.compile(rb"\r\n|\r|\n")
PROPERTIES = [
    "id", "blobId", "threadId", "mailboxIds", "keywords", "size", "receivedAt", "messageId", "inReplyTo", "references",
    "sender", "from", "to", "cc", "bcc", "replyTo", "subject", "sentAt", "hasAttachment", "preview", "bodyStructure",
    "bodyValues", "textBody", "htmlBody", "attachments", "headers", "header:Received:all",
    "header:To:asGroupedAddresses", "header:List-Unsubscribe:asURLs", "header:X-Mailer:asText",
]  # fmt: skip
PART = ["partId", "blobId", "size", "name", "type", "charset", "disposition", "cid", "language", "location", "headers"]
OWN = [
    b"\r\n",
    b"no header at all",
    b"Subject: bare\rcr and \x00 NUL and 8-bit \xff\r\n\r\nbody\x00\r\n",
    b"Subject: lf only\n\nbody\n",
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n--x\r\n\r\n--x--",
    b"Subject: " + b"long " * 5000 + b"\r\n\r\n" + b"y" * 100_000 + b"\r\n",
    b"Content-Type: multipart/mixed\r\n\r\n" * 50,
    b"From: =?utf-8?q?=00=ff?= <\xff@\xfe>, ;:<>\r\nDate: never\r\nMessage-ID: <<>>\r\n\r\n",
    b"Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!!\r\n",
]


def check_email(email: dict[str, Any]) -> None:
    """The types of RFC 8621 4.1, as a strict client reads them."""
    for name in ("id", "blobId", "threadId", "receivedAt", "preview"):
        assert isinstance(email[name], str), name
    assert isinstance(email["size"], int)
    assert isinstance(email["hasAttachment"], bool)
    assert all(flag is True for name in ("mailboxIds", "keywords") for flag in email[name].values())
    assert email["mailboxIds"]
    for name in ("messageId", "inReplyTo", "references", "header:List-Unsubscribe:asURLs"):
        assert email[name] is None or (email[name] and all(isinstance(one, str) for one in email[name])), name
    for name in ("sender", "from", "to", "cc", "bcc", "replyTo"):
        for address in email[name] or ():
            assert set(address) == {"name", "email"}
            assert isinstance(address["name"], str | None)
            assert isinstance(address["email"], str)
    for name in ("subject", "sentAt", "header:X-Mailer:asText"):
        assert isinstance(email[name], str | None), name
    assert all(isinstance(value, str) for value in email["header:Received:all"])
    for field in email["headers"]:
        assert set(field) == {"name", "value"}
    for part in (*email["textBody"], *email["htmlBody"], *email["attachments"]):
        check_part(part)
        assert part["partId"] is not None
    check_part(email["bodyStructure"])
    for value in email["bodyValues"].values():
        assert isinstance(value["value"], str)
        assert isinstance(value["isEncodingProblem"], bool)
        assert isinstance(value["isTruncated"], bool)


def check_part(part: dict[str, Any]) -> None:
    assert set(part) - {"subParts"} == set(PART)
    assert isinstance(part["size"], int)
    assert isinstance(part["type"], str)
    for name in ("name", "charset", "disposition", "cid", "location"):
        assert isinstance(part[name], str | None), name
    assert part["language"] is None or all(isinstance(tag, str) for tag in part["language"])
    assert (part["partId"] is None) == (part["blobId"] is None) == part["type"].startswith("multipart/")
    for child in part.get("subParts", ()):
        check_part(child)


def leaves(part: dict[str, Any]) -> list[dict[str, Any]]:
    return [leaf for child in part["subParts"] for leaf in leaves(child)] if part.get("subParts") else [part]


async def kept_and_read_back(jmap: Any, messages: list[bytes]) -> None:
    """Import all, look at every property of each, download each as a whole and its parts."""
    inbox = {(await jmap.boxes())["inbox"]: True}
    blobs = [(await jmap.upload(raw))["blobId"] for raw in messages]
    emails = {str(number): {"blobId": blob, "mailboxIds": inbox} for number, blob in enumerate(blobs)}
    answer = await jmap.call("Email/import", emails=emails)
    assert answer["notCreated"] is None
    made = [answer["created"][str(number)]["id"] for number in range(len(messages))]
    wanted = {"properties": PROPERTIES, "bodyProperties": PART, "fetchAllBodyValues": True}
    found = await jmap.call("Email/get", ids=made, **wanted)
    assert found["notFound"] == []
    for raw, email in zip(messages, found["list"], strict=True):
        check_email(email)
        assert email["size"] == len(raw)
        assert (await jmap.download(email["blobId"])).body == raw
        for part in leaves(email["bodyStructure"]):
            reply = await jmap.download(part["blobId"])
            assert reply.status == 200
    assert jmap.connected == 1


async def test_own_samples(jmap: Any) -> None:
    await kept_and_read_back(jmap, OWN)


@pytest.mark.timeout(300)
async def test_the_corpus(jmap: Any, corpus_folder: Path) -> None:
    paths = sorted(path for path in (corpus_folder / "messages").rglob("*") if path.is_file())
    contents = await asyncio.to_thread(lambda: [path.read_bytes() for path in paths])
    messages = [_LINE_END.sub(b"\r\n", content) for content in contents if content]
    for start in range(0, len(messages), 50):
        await kept_and_read_back(jmap, messages[start : start + 50])
