"""Changes made elsewhere reach waiting clients: by the self-check in any case, over a coordinator at once."""

import asyncio
import uuid
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from posthorn_storage import Storage, StorageSettings
from posthorn_testkit.conversation import Conversation, to
from posthorn_testkit.nats_servers import NatsServer
from posthorn_testkit.node_settings import local
from posthorn_testkit.process import ServiceProcess, running_service
from posthorn_testkit.redis_servers import RedisServer

pytestmark = pytest.mark.postgres

IDLE = """
S: * OK ...
C: l LOGIN ann@example.org secret
S: l OK ...
C: s SELECT INBOX
S*: s OK ...
C: i IDLE
S: + idling
"""
SELECT = IDLE.partition("C: i")[0]
APPEND = r"""
S: * OK ...
C: l LOGIN ann@example.org secret
S: l OK ...
C\: a APPEND INBOX {15+}\r\nSubject: news\r\n\r\n
S: a OK ...
"""


async def test_what_no_event_told_of_is_found_by_looking(
    imap_server: Any, account: Any, storage: Storage, storage_settings: StorageSettings
) -> None:
    await account("ann@example.org", password="secret")
    near = await imap_server()
    other = await Storage.open(storage_settings)
    try:
        far = await imap_server(on=other)
        waiting = await near.play(IDLE)
        assert await near.parts.changes.look() == 0
        await far.play(APPEND)
        assert await near.parts.changes.look() == 1
        await waiting.play("S: * 1 EXISTS\nS: * 1 RECENT")
        assert await near.parts.changes.look() == 0
        await waiting.play("C: DONE\nS: i OK ...\nC: n NOOP\nS: n OK ...")
        await far.stop()
    finally:
        await other.close()


async def test_what_a_conditional_store_failed_at_is_told(
    imap_server: Any, account: Any, storage: Storage, storage_settings: StorageSettings
) -> None:
    """No event has come of what another node did; the store has seen it, so the client hears of it (RFC 7162 3.1.3)."""
    await account("ann@example.org", password="secret")
    other = await Storage.open(storage_settings)
    try:
        near, far = await imap_server(), await imap_server(on=other)
        await far.play(APPEND)
        waiting = await near.play(SELECT)
        await far.play(SELECT + "C: f STORE 1 +FLAGS.SILENT (\\Flagged)\nS: f OK ...")
        await waiting.play(
            r"""
            C: u STORE 1 (UNCHANGEDSINCE 1) +FLAGS.SILENT (\Answered)
            S: * OK [HIGHESTMODSEQ ...] ...
            S: * 1 FETCH (FLAGS (\Flagged ...) MODSEQ (...))
            S: u OK [MODIFIED 1] ...
            """
        )
        await far.stop()
    finally:
        await other.close()


async def test_who_vanishes_while_numbered_is_not_said_to_have_vanished_earlier(
    imap_server: Any, account: Any, storage: Storage, storage_settings: StorageSettings
) -> None:
    """The log knows of it before the session does, whose client would count wrongly from then on (RFC 7162 3.2.10)."""
    await account("ann@example.org", password="secret")
    other = await Storage.open(storage_settings)
    try:
        near, far = await imap_server(), await imap_server(on=other)
        await far.play(APPEND)
        await far.play(APPEND)
        waiting = await near.play(SELECT.replace("C: s", "C: e ENABLE QRESYNC\nS*: e OK ...\nC: s"))
        await far.play(
            SELECT + "C: f STORE 1 +FLAGS.SILENT (\\Deleted)\nS: f OK ...\nC: x EXPUNGE\nS: * 1 EXPUNGE\nS: x OK ..."
        )
        await waiting.play(
            """
            C: u UID FETCH 1:* (UID) (CHANGEDSINCE 1 VANISHED)
            S: * 1 FETCH (UID 1 MODSEQ (...))
            S: * 2 FETCH (UID 2 MODSEQ (...))
            S: u OK ...
            """
        )
        assert await near.parts.changes.look() == 1
        await waiting.play("C: i IDLE\nS: + idling\nS: * VANISHED 1\nC: DONE\nS: i OK ...")
        await far.stop()
    finally:
        await other.close()


async def talk(process: ServiceProcess, listener: str = "imap") -> Conversation:
    listening = await process.listening(listener)
    return Conversation(to("127.0.0.1", listening["port"], tls=listener == "imaps"), wait=60.0)


SETTINGS = local("""
[cluster]
name = "{cluster}"
node-id = {number}
{coordinator}
[imap.timeouts]
self-check = "5m"
[server]
hostname = "node{number}.example.org"
data = "{folder}/node{number}"
[server.listener.imap]
protocol = "imap"
bind = "127.0.0.1:0"
allow-plaintext-auth = true
[server.listener.imaps]
protocol = "imap"
bind = "127.0.0.1:0"
tls = "implicit"
[storage]
data = "postgres"
blob = "fs"
[store.postgres.pool]
max-connections = 4
""")


def node(
    number: int, cluster: str, dsn: str, coordinator: str, folder: Path
) -> AbstractAsyncContextManager[ServiceProcess]:
    """A running imap process of its own node."""
    config = folder / f"node{number}.toml"
    config.write_text(SETTINGS.format(cluster=cluster, number=number, coordinator=coordinator, folder=folder, dsn=dsn))
    return running_service("posthorn_imap", config)


@pytest.mark.kafka
@pytest.mark.timeout(300)
async def test_a_message_on_one_node_reaches_an_idle_client_of_another_over_kafka(
    account: Any, postgres_dsn: str, kafka_servers: str, tmp_path: Path
) -> None:
    await account("ann@example.org", password="secret")
    await reaches_the_other(f'type = "kafka"\nbootstrap-servers = ["{kafka_servers}"]', postgres_dsn, tmp_path)


@pytest.mark.nats
@pytest.mark.timeout(300)
async def test_it_does_over_nats(account: Any, postgres_dsn: str, nats_server: NatsServer, tmp_path: Path) -> None:
    await account("ann@example.org", password="secret")
    await reaches_the_other(f'type = "nats"\nurls = ["nats://{nats_server.address}"]', postgres_dsn, tmp_path)


@pytest.mark.redis
@pytest.mark.timeout(300)
async def test_it_does_over_redis(account: Any, postgres_dsn: str, redis_server: RedisServer, tmp_path: Path) -> None:
    await account("ann@example.org", password="secret")
    await reaches_the_other(f'type = "redis"\nurls = ["{redis_server.url}"]', postgres_dsn, tmp_path)


async def reaches_the_other(coordinator: str, dsn: str, folder: Path) -> None:
    """What a client does at one node another one, that idles at the second, is told by events; then both nodes end."""
    cluster = f"t{uuid.uuid4().hex[:12]}"
    async with (
        node(1, cluster, dsn, coordinator, folder) as first,
        node(2, cluster, dsn, coordinator, folder) as second,
    ):
        waiting, writing = await talk(second), await talk(first)
        await waiting.play(IDLE.replace("C: l", "C: t STARTTLS\nS: t OK ...\nTLS:\nC: l"))
        await writing.play(APPEND)
        await waiting.play("S: * 1 EXISTS\nS: * 1 RECENT")
        await writing.play(
            r"""
            C: s SELECT INBOX
            S*: s OK ...
            C: f STORE 1 +FLAGS.SILENT (\Flagged \Deleted)
            S: f OK ...
            """
        )
        await waiting.play(r"S: * 1 FETCH (FLAGS (\Flagged \Deleted \Recent))")
        await writing.play("C: x EXPUNGE\nS: * 1 EXPUNGE\nS: x OK ...")
        await waiting.play("S: * 1 EXPUNGE")
        implicit = await talk(second, "imaps")
        await implicit.play(
            "S: * OK ...\nC: l LOGIN ann@example.org secret\nS: l OK ...\nC: o LOGOUT\nS*: o OK ...\nE:"
        )
        late = [line for line in second.lines if "no event told of" in line["event"]]
        assert not late, "the events came too late or not at all"
        code = asyncio.create_task(second.end())
        await waiting.play("S: * BYE [UNAVAILABLE] Server shutting down\nS: i OK IDLE ended\nE:")
        assert await code == 0
        await writing.play("C: n NOOP\nS: n OK ...")
        assert await first.end() == 0
        await writing.close()
