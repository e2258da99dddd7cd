"""Real clients and real input: smtplib, swaks, curl, and every message of the corpus octet for octet."""

import asyncio
import re
import shutil
import smtplib
import ssl
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from posthorn_mail_auth.results import strip

pytestmark = [pytest.mark.postgres, pytest.mark.peers]

SAMPLES = [
    b"",
    b"\r\n",
    b"no header at all\r\n",
    b"Subject: only a header\r\n",
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nnever closed\r\n",
    b"From nobody Thu Jan  1 00:00:00 1970\r\nSubject: mbox\r\n\r\n.\r\n..\r\n",
    "Subject: Grüße\r\n\r\nnaïve\r\n".encode("latin-1"),
    b"Subject: =?utf-8?q?broken=\r\nContent-Transfer-Encoding: base64\r\n\r\n????\r\n",
]


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def corpus(folder: Path) -> Iterator[bytes]:
    """Every message with its line ends made CRLF."""
    for path in sorted((folder / "messages").rglob("*")):
        if path.is_file():
            yield re.sub(rb"\r\n|\r|\n", b"\r\n", path.read_bytes())


def carried(content: bytes) -> bool:
    """Whether SMTP may carry it: no NUL, no line over 998 octets."""
    return b"\0" not in content and not re.search(rb"[^\r\n]{999}", content)


def ended(content: bytes) -> bytes:
    """As DATA leaves it: a last line always ends with CRLF."""
    return content if not content or content.endswith(b"\r\n") else content + b"\r\n"


async def send_all(service: Any, contents: list[bytes]) -> list[str]:
    """Send each as it is, octet for octet; the replies."""
    found = []
    async with await service.connect() as talk:
        await talk.play("S: 220 *\nC: EHLO c\nS: 250-*")
        for content in contents:
            stuffed = (b"\r\n" + ended(content)).replace(b"\r\n.", b"\r\n..")[2:]
            talk.send(b"MAIL FROM:<e@f.net> BODY=8BITMIME\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n")
            await talk.play("S: 250 *\nS: 250 *\nS: 354 *")
            talk.send(stuffed + b".\r\n")
            found.append(await talk.reply())
        await talk.play("C: QUIT\nS: 221 *")
    return found


async def check_all(service: Any, account: Any, contents: list[bytes]) -> None:
    answers = await send_all(service, contents)
    for content, answer in zip(contents, answers, strict=True):
        assert answer.startswith("250 2.6.0 " if carried(content) else ("554 5.6.0 ", "500 5.6.0 ")), content[:80]
    stored = await service.inbox(account)
    # Of results that do not say whose they are nothing is left (RFC 8601 5); all else is as it was sent.
    wanted = [strip(ended(content), "mx.example.org") for content in contents if carried(content)]
    assert len(stored) == len(wanted)
    for content, found in zip(wanted, stored, strict=True):
        assert found.endswith(content)
        trace = found[: len(found) - len(content)]
        assert re.fullmatch(rb"Return-Path: <e@f\.net>\r\nReceived: from c [^\r\n]*\r\n(?:\t[^\r\n]*\r\n)+", trace)


async def test_our_own_samples_arrive_octet_for_octet(service: Any, people: Any) -> None:
    await check_all(service, people[0], [*SAMPLES, b"x" * 999, b"nul \0\r\n"])


async def test_the_corpus_arrives_octet_for_octet(start: Any, people: Any, corpus_folder: Path) -> None:
    contents = list(corpus(corpus_folder))
    assert len(contents) > 50
    await check_all(await start(limits={"errors": 1000}), people[0], contents)


async def test_smtplib_submits_over_starttls_and_implicit_tls(service: Any, people: Any) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "ann@example.org", "bob@example.org", "Grüße"
    message.set_content("text\n.\n..\n")
    message.add_attachment(bytes(range(256)) * 50, maintype="application", subtype="octet-stream", filename="all.bin")

    def submit(port: int, *, implicit: bool) -> None:
        kind = smtplib.SMTP_SSL if implicit else smtplib.SMTP
        more = {"context": unverified()} if implicit else {}
        with kind("127.0.0.1", port, timeout=30, **more) as client:  # type: ignore[arg-type]
            if not implicit:
                client.starttls(context=unverified())
            client.login("ann@example.org", "correct horse")
            assert client.send_message(message) == {}

    await asyncio.to_thread(submit, service.port("submission"), implicit=False)
    await asyncio.to_thread(submit, service.port("submissions"), implicit=True)
    assert len(await service.inbox(people[1])) == 2


async def test_smtplib_speaks_lmtp(service: Any, people: Any) -> None:
    def deliver() -> dict[str, Any]:
        with smtplib.LMTP("127.0.0.1", service.port("lmtp")) as client:
            return client.sendmail("e@f.net", ["ann@example.org", "nobody@example.org"], b"Subject: x\r\n\r\nx\r\n")

    refused = await asyncio.to_thread(deliver)
    assert list(refused) == ["nobody@example.org"]
    assert len(await service.inbox(people[0])) == 1


async def run(*command: str, given: bytes = b"") -> tuple[int, str]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    output, _ = await process.communicate(given)
    return process.returncode or 0, output.decode("utf-8", "replace")


async def test_swaks_submits_with_tls_and_login(service: Any, people: Any) -> None:
    code, output = await run(
        "swaks", "--server", f"127.0.0.1:{service.port('submission')}", "--tls", "--auth", "LOGIN",
        "--auth-user", "ann@example.org", "--auth-password", "correct horse",
        "--from", "ann@example.org", "--to", "bob@example.org", "--pipeline",
    )  # fmt: skip
    assert code == 0, output
    code, output = await run(
        "swaks", "--server", f"127.0.0.1:{service.port('smtp')}", "--from", "e@f.net", "--to", "nobody@example.org"
    )
    assert code != 0
    assert "550 5.1.1" in output
    assert len(await service.inbox(people[1])) == 1


async def test_curl_submits(service: Any, people: Any) -> None:
    code, output = await run(
        "curl", "--silent", "--show-error", "--insecure", "--ssl-reqd", f"smtp://127.0.0.1:{service.port('submission')}",
        "--user", "ann@example.org:correct horse", "--mail-from", "ann@example.org", "--mail-rcpt", "bob@example.org",
        "--upload-file", "-", given=b"Subject: curl\r\n\r\nhello\r\n",
    )  # fmt: skip
    assert code == 0, output
    assert (await service.inbox(people[1]))[0].endswith(b"Subject: curl\r\n\r\nhello\r\n")
