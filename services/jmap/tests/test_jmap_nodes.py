"""Two nodes as processes with the peer-to-peer bus: what one changes, event sources of the other hear at once."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from posthorn_testkit.node_settings import local
from posthorn_testkit.process import ServiceProcess, running_service

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]

CONFIG = local("""
[cluster]
name = "test"
node-id = {number}
secret = "the secret of this cluster"
[server]
hostname = "node{number}.example.org"
data = "{folder}/node{number}"
[server.listener.jmap]
protocol = "jmap"
bind = "127.0.0.1:0"
url = "https://mail.example.org/"
allow-plaintext-auth = true
[storage]
data = "postgres"
blob = "fs"
[jmap]
self-check = "5m"
[store.postgres.pool]
max-connections = 4
""")


def node(
    number: int, dsn: str, folder: Path, config_text: str = CONFIG
) -> contextlib.AbstractAsyncContextManager[ServiceProcess]:
    """A running jmap process of its own node."""
    config = folder / f"node{number}.toml"
    config.write_text(config_text.format(number=number, dsn=dsn, folder=folder))
    return running_service("posthorn_jmap", config)


async def base(process: ServiceProcess) -> str:
    """Where it listens, once it is ready."""
    host, port = (await process.listening())["bind"][0]
    return f"http://{host}:{port}"


async def test_event_sources_hear_of_other_nodes(
    account: Any, postgres_dsn: str, tmp_path: Path, make_client: Any, open_events: Any
) -> None:
    await account("ann@example.org", "correct horse")
    async with node(1, postgres_dsn, tmp_path) as first, node(2, postgres_dsn, tmp_path) as second:
        writer = await make_client(await base(first))
        reader = await make_client(await base(second))
        assert writer.session["apiUrl"] == "https://mail.example.org/jmap/api/"
        assert writer.session["state"] == reader.session["state"]
        assert reader.session["uploadUrl"].startswith("https://mail.example.org/jmap/")
        events = await open_events(reader, "types=Email&closeafter=no&ping=0")
        # Subscriptions between the two settle while they meet: the writer writes until the reader has heard.
        heard = asyncio.create_task(events.until(b"event: state\r\n"))
        while not heard.done():
            made = await writer.add()
            await asyncio.wait({heard}, timeout=0.5)
        told = json.loads((await events.until(b"\r\n\r\n")).split(b"data: ")[1])
        assert set(told["changed"][reader.account]) == {"Email"}
        made = await writer.add()
        state = int((await reader.call("Email/get", ids=[made["id"]]))["state"])
        while int(told["changed"][reader.account]["Email"]) < state:
            told = json.loads((await events.until(b"\r\n\r\n")).split(b"data: ")[1])
        assert (await second.end(), await first.end()) == (0, 0)
        await events.until(b"0\r\n\r\n")


async def test_a_node_drains_and_refuses_plain_passwords(
    account: Any, postgres_dsn: str, tmp_path: Path, make_client: Any
) -> None:
    await account("ann@example.org", "correct horse")
    text = CONFIG.replace("allow-plaintext-auth = true", "allow-plaintext-auth = false")
    async with node(1, postgres_dsn, tmp_path, text) as only:
        client = await make_client(await base(only), ready=False)
        reply = await client.request("GET", "/.well-known/jmap")
        assert reply.status == 403
        assert "TLS" in reply.json["detail"]
        assert await only.end() == 0
