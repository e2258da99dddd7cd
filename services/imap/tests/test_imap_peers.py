"""Real clients against the running service: imaplib, curl and mbsync."""

import asyncio
import imaplib
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posthorn_testkit.strict import missing

pytestmark = [pytest.mark.postgres, pytest.mark.peers]

MESSAGE = b"From: ann@example.org\r\nSubject: %s\r\nMessage-ID: <%s@example.org>\r\n\r\nBody of %s\r\n"


def message(name: str) -> bytes:
    word = name.encode()
    return MESSAGE % (word, word, word)


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def in_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.wait_for(asyncio.to_thread(work), 60)


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        missing(f"{name} is not installed")
    return found


async def run(*arguments: str, data: bytes | None = None) -> bytes:
    def call() -> bytes:
        done = subprocess.run(arguments, input=data, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
        return done.stdout

    found: bytes = await in_thread(call)
    return found


async def test_imaplib_with_starttls(imap: Any) -> None:
    host, port = imap.address("starttls")

    def work() -> None:
        with imaplib.IMAP4(host, port, timeout=60) as client:
            client.starttls(trusting())
            client.login("ann@example.org", "secret")
            assert (
                client.append("INBOX", "(\\Seen)", imaplib.Time2Internaldate(1_700_000_000), message("one"))[0] == "OK"
            )
            assert client.append("INBOX", None, None, message("two"))[0] == "OK"
            assert client.select("INBOX") == ("OK", [b"2"])
            assert client.search(None, "UNSEEN") == ("OK", [b"2"])
            status, found = client.fetch("1:2", "(UID BODY.PEEK[])")
            assert status == "OK"
            assert [part[1] for part in found if isinstance(part, tuple)] == [message("one"), message("two")]
            assert client.sort("REVERSE SUBJECT", "UTF-8", "ALL") == ("OK", [b"2 1"])
            assert client.uid("SORT", "(SUBJECT)", "UTF-8", "UNSEEN") == ("OK", [b"2"])
            assert client.thread("REFERENCES", "UTF-8", "ALL") == ("OK", [b"(1)(2)"])
            assert client.store("1", "+FLAGS", "\\Deleted")[0] == "OK"
            assert client.create("Work/Deep")[0] == "OK"
            assert client.copy("2", "Work/Deep")[0] == "OK"
            assert client.expunge() == ("OK", [b"1"])
            assert client.status("Work/Deep", "(MESSAGES)") == ("OK", [b'"Work/Deep" (MESSAGES 1)'])
            assert client.uid("MOVE", "2", "Trash")[0] == "OK"
            assert client.rename("Work/Deep", "Work/Deeper")[0] == "OK"
            assert client.list('""', "Work/%")[1] == [b'(\\HasNoChildren) "/" "Work/Deeper"']
            client.close()

    await in_thread(work)


async def test_imaplib_with_implicit_tls_and_sasl(imap: Any) -> None:
    host, port = imap.address("implicit")

    def work() -> None:
        with imaplib.IMAP4_SSL(host, port, ssl_context=trusting(), timeout=60) as client:
            client.authenticate("PLAIN", lambda _: b"\0ann@example.org\0secret")
            assert client.select("INBOX")[0] == "OK"
            with pytest.raises(imaplib.IMAP4.error):
                client.login("ann@example.org", "secret")

    await in_thread(work)


async def test_curl_uploads_lists_searches_and_fetches(imap: Any, tmp_path: Path) -> None:
    curl = program("curl")
    host, port = imap.address("starttls")
    base = f"imap://{host}:{port}"
    common = (curl, "-sS", "--ssl-reqd", "--insecure", "--user", "ann@example.org:secret")
    letter = tmp_path / "letter.eml"
    letter.write_bytes(message("curled"))
    await run(*common, "-T", str(letter), f"{base}/INBOX")
    assert await run(*common, f"{base}/INBOX;MAILINDEX=1") == message("curled")
    assert b'"/" "INBOX"' in await run(*common, f"{base}/")
    assert await run(*common, f"{base}/INBOX?SUBJECT%20curled") == b"* SEARCH 1\r\n"
    assert await run(*common, f"{base}/INBOX;UID=1;SECTION=TEXT") == b"Body of curled\r\n"
    assert await run(*common, "-X", "STATUS INBOX (UNSEEN)", f"{base}/") == b'* STATUS "INBOX" (UNSEEN 0)\r\n'


def maildir(folder: Path) -> dict[str, str]:
    """Body word -> flags of each message of a maildir."""
    found = {}
    for path in [*folder.glob("cur/*"), *folder.glob("new/*")]:
        flags = path.name.partition(":2,")[2]
        found[path.read_bytes().split(b"Body of ")[1].split()[0].decode()] = flags
    return found


async def test_mbsync_both_ways(imap: Any, tmp_path: Path) -> None:
    mbsync = program("mbsync")
    host, port = imap.address("plain")
    version = (await run(mbsync, "--version")).decode().split()[-1]
    tls_word = "SSLType" if version.startswith(("1.0", "1.1", "1.2", "1.3", "1.4")) else "TLSType"
    local = tmp_path / "mail"
    local.mkdir()
    config = tmp_path / "mbsyncrc"
    config.write_text(
        f"IMAPAccount a\nHost {host}\nPort {port}\nUser ann@example.org\nPass secret\n"
        f"{tls_word} None\nAuthMechs LOGIN\n\n"
        "IMAPStore far\nAccount a\n\n"
        f"MaildirStore near\nSubFolders Verbatim\nPath {local}/\nInbox {local}/INBOX\n\n"
        "Channel c\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n"
    )

    async def sync() -> None:
        await run(mbsync, "-c", str(config), "-a")

    play = "S: * OK ...\nC: l LOGIN ann@example.org secret\nS: l OK ...\n"
    talk = await imap.play(play)
    for name in ("one", "two", "three"):
        octets = message(name).decode().encode("unicode_escape").decode()
        await talk.play(f"C\\: 1 APPEND INBOX {{{len(message(name))}+}}\\r\\n{octets}\\r\\n\nS: 1 OK ...")
    await sync()
    assert sorted(maildir(local / "INBOX")) == ["one", "three", "two"]
    assert (local / "Sent").is_dir()

    # Near to far: a new message, a flag, a removal, a new folder.
    (local / "INBOX" / "new" / "4711.near.example").write_bytes(message("four").replace(b"\r\n", b"\n"))
    for path in list((local / "INBOX").glob("*/*")):
        if b"Body of one" in path.read_bytes():
            base = path.name.partition(":")[0]
            path.rename(local / "INBOX" / "cur" / f"{base}:2,FS")
        elif b"Body of two" in path.read_bytes():
            path.unlink()
    for part in ("cur", "new", "tmp"):
        (local / "Projects" / part).mkdir(parents=True)
    await sync()
    await talk.play(
        r"""
        C: 2 STATUS Projects (MESSAGES)
        S: * STATUS "Projects" (MESSAGES 0)
        S: 2 OK ...
        C: 3 SELECT INBOX
        S: * 3 EXISTS
        S*: 3 OK ...
        C: 4 SEARCH FLAGGED SEEN BODY one
        S: * SEARCH 1
        S: 4 OK ...
        C: 5 SEARCH BODY four
        S: * SEARCH 3
        S: 5 OK ...
        """
    )

    # Far to near: a flag, a removal.
    await talk.play(
        r"""
        C: 6 STORE 3 +FLAGS.SILENT \Answered
        S: 6 OK ...
        C: 7 STORE 1 +FLAGS.SILENT \Deleted
        S: 7 OK ...
        C: 8 EXPUNGE
        S: * 1 EXPUNGE
        S: 8 OK ...
        """
    )
    await sync()
    found = maildir(local / "INBOX")
    assert sorted(found) == ["four", "three"]
    assert "R" in found["four"]
    await sync()
    assert maildir(local / "INBOX") == found
