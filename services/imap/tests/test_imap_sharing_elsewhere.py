"""Sharing with what is elsewhere: accounts on other shards, changes on other nodes; rights as Dovecot tells them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from posthorn_storage import FsSettings, PlacementRules, ShardRule, ShardSettings, Storage, StorageSettings
from posthorn_storage.shards.registry import register
from posthorn_testkit.dovecot import opened

if TYPE_CHECKING:
    from posthorn_testkit.databases import Databases

pytestmark = pytest.mark.postgres
TWO = """
S: * OK ...
C: l LOGIN ann@example.org secret
S: l OK ...
2 S: * OK ...
2 C: l LOGIN bob@example.org hidden
2 S: l OK ...
"""
INBOX = '"Other Users/ann@example.org/INBOX"'


@pytest.fixture
def settings(databases: "Databases", tmp_path: Path) -> Iterator[StorageSettings]:
    """Ann lives on a shard of her own, all others on the home."""
    with databases.fresh() as home, databases.fresh() as east:
        yield StorageSettings(
            dsn=home,
            blobs=FsSettings(tmp_path / "blobs"),
            shards=(ShardSettings("east", east),),
            placement=PlacementRules((ShardRule("east", pins=frozenset({"ann@example.org"})),)),
        )


@pytest_asyncio.fixture
async def sharded(settings: StorageSettings) -> AsyncIterator[Storage]:
    await register(settings)
    storage = await Storage.open(settings)
    await storage.directory.add_domain("example.org")
    try:
        yield storage
    finally:
        await storage.close()


async def test_accounts_on_two_shards_share(sharded: Storage, imap_server: Any) -> None:
    """Ids of mailboxes of the two are the same numbers: the selected one is never taken for the other."""
    ann = await sharded.directory.add_account("ann@example.org", "secret")
    await sharded.directory.add_account("bob@example.org", "hidden")
    assert (await sharded.directory.accounts_by_shard()).keys() == {0, 1}, "on a shard each"
    server = await imap_server(on=sharded)
    await server.play(
        TWO
        + r"""
        C: 1 SETACL INBOX bob@example.org lrswite
        S: 1 OK ...
        C\: 2 APPEND INBOX (\\Flagged) {16+}\r\nSubject: one\r\n\r\n\r\n
        S: 2 OK ...
        2 C: 1 LIST "" "Other*" RETURN (STATUS (MESSAGES))
        2 S: * LIST (\HasNoChildren) "/" {inbox}
        2 S: * STATUS {inbox} (MESSAGES 1)
        2 S: 1 OK ...
        2 C: 2 SELECT {inbox}
        2 S*: 2 OK [READ-WRITE] ...
        2 C: 3 COPY 1 INBOX
        2 S: 3 OK [COPYUID ... 1 1] ...
        2 C: 4 MOVE 1 INBOX
        2 S: * OK [COPYUID ... 1 2] Moved
        2 S: * 1 EXPUNGE
        2 S: 4 OK ...
        2 C: 5 SELECT INBOX
        2 S*: * 2 EXISTS
        2 S*: 5 OK ...
        2 C: 6 FETCH 2 (FLAGS BODY.PEEK[HEADER])
        2 S: * 2 FETCH (FLAGS (\Flagged \Recent) BODY[HEADER] {16}
        2 S: Subject: one
        2 S*: 6 OK ...
        2 C: 7 MOVE 1:2 {inbox}
        2 S: * OK [COPYUID ... 1:2 2:3] Moved
        2 S*: 7 OK ...
        C: 3 STATUS INBOX (MESSAGES)
        S: * STATUS "INBOX" (MESSAGES 2)
        S: 3 OK ...
        2 C: 8 ESEARCH IN (mailboxes ("INBOX" {inbox})) FLAGGED
        2 S: * ESEARCH (TAG "8" MAILBOX {inbox} UIDVALIDITY ...) UID ALL 2:3
        2 S: 8 OK ...
        2 C: 9 SUBSCRIBE {inbox}
        2 S: 9 OK ...
        """,
        inbox=INBOX,
    )
    assert await sharded.mail.shared_with(ann.id) == []


async def test_a_right_taken_back_on_another_node_is_gone_here(
    imap_server: Any, account: Any, storage: Storage, storage_settings: StorageSettings
) -> None:
    """Nothing tells of it: the next command asks, and who waits is found by the self-check."""
    await account("ann@example.org", password="secret")
    await account("bob@example.org", password="hidden")
    near = await imap_server()
    other = await Storage.open(storage_settings)
    try:
        far = await imap_server(on=other)
        away = await far.play(
            "S: * OK ...\nC: l LOGIN ann@example.org secret\nS: l OK ...\n"
            "C: 1 SETACL INBOX bob@example.org lrs\nS: 1 OK ..."
        )
        talk = await near.play(
            """
            S: * OK ...
            C: l LOGIN bob@example.org hidden
            S: l OK ...
            C: 1 SELECT {inbox}
            S*: 1 OK [READ-WRITE] ...
            """,
            inbox=INBOX,
        )
        await away.play("C: 2 SETACL INBOX bob@example.org lr\nS: 2 OK ...")
        await talk.play(
            r"""
            C: 2 STORE 1:* +FLAGS (\Seen)
            S: * OK [PERMANENTFLAGS ()] ...
            S: * OK [READ-ONLY] ...
            S: 2 NO [NOPERM] ...
            C: 3 IDLE
            S: + idling
            """
        )
        await away.play("C: 3 DELETEACL INBOX bob@example.org\nS: 3 OK ...")
        await near.parts.changes.look()
        await talk.play("S: * BYE [NOPERM] ...\nE:")
        await far.stop()
    finally:
        await other.close()


ACL_OF_DOVECOT = """
mail_plugins = acl
protocol imap {
  mail_plugins = acl imap_acl
}
plugin {
  acl = vfile
}
"""


def told(answer: bytes, word: bytes) -> list[bytes]:
    """The words of the untagged response of this kind, behind the name of the mailbox."""
    (line,) = [line for line in answer.split(b"\r\n") if line.startswith(b"* " + word)]
    return line.split()[3:]


async def test_rights_are_told_as_dovecot_tells_them(imap: Any, account: Any) -> None:
    """The letters in another order: also those of RFC 2086, of which a part is held."""
    await account("bob@example.org")
    given = [b"lr", b"lrd", b"lrk", b"x", b"lrswipkxtea", b"-cr", b"+d", b"-te", b"+tc"]

    def asked() -> list[list[bytes]]:
        with opened([], settings=ACL_OF_DOVECOT) as ask:
            found = [told(ask(b"MYRIGHTS INBOX"), b"MYRIGHTS"), told(ask(b"LISTRIGHTS INBOX bob"), b"LISTRIGHTS")[1:]]
            for letters in given:
                ask(b"SETACL INBOX bob " + letters)
                words = told(ask(b"GETACL INBOX"), b"ACL")
                found.append([words[words.index(b"bob") + 1]])
            return found

    reader, writer = await asyncio.open_connection(*imap.address())

    async def ask(command: bytes) -> bytes:
        writer.write(b"t " + command + b"\r\n")
        answer = await reader.readuntil(b"\r\nt OK")
        await reader.readline()
        return answer

    await reader.readline()
    writer.write(b"t LOGIN ann@example.org secret\r\n")
    await reader.readline()
    own = [
        told(await ask(b"MYRIGHTS INBOX"), b"MYRIGHTS"),
        told(await ask(b"LISTRIGHTS INBOX bob@example.org"), b"LISTRIGHTS")[1:],
    ]
    for letters in given:
        writer.write(b"t SETACL INBOX bob@example.org " + letters + b"\r\n")
        await reader.readline()
        words = told(await ask(b"GETACL INBOX"), b"ACL")
        own.append([words[words.index(b"bob@example.org") + 1]])
    writer.close()
    for theirs, ours in zip(await asyncio.to_thread(asked), own, strict=True):
        assert sorted(b"".join(ours)) == sorted(b"".join(theirs))
