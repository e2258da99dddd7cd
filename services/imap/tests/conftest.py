"""A running IMAP service on the real database, and conversations with it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest_asyncio
import structlog

from posthorn_imap.app import assemble_parts
from posthorn_imap.parts import Parts
from posthorn_imap.reception import make_reception
from posthorn_imap.settings import ImapSettings, SessionLimits, SessionTimes
from posthorn_node.metrics import Metrics
from posthorn_node.settings import ListenerSettings, ServerSettings
from posthorn_node.stream.door import Door
from posthorn_node.stream.reception import Reception
from posthorn_node.tls import TlsContexts
from posthorn_storage import Storage
from posthorn_testkit.conversation import Conversation, to


@dataclass
class ImapServer:
    """One service: its listeners by name, and conversations with them."""

    parts: Parts
    receptions: dict[str, Reception]
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    conversations: list[Conversation] = field(default_factory=list)

    def address(self, listener: str = "plain") -> tuple[str, int]:
        return self.receptions[listener].addresses()[0]

    def talk(self, listener: str = "plain") -> Conversation:
        host, port = self.address(listener)
        made = Conversation(to(host, port, tls=listener == "implicit"))
        self.conversations.append(made)
        return made

    async def play(self, script: str, *, listener: str = "plain", **variables: object) -> Conversation:
        """Play a whole conversation on connections of its own."""
        conversation = self.talk(listener)
        await conversation.play(script, **variables)
        return conversation

    async def stop(self) -> None:
        for conversation in self.conversations:
            await conversation.close()
        for reception in self.receptions.values():
            await reception.stop()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


ServerFactory = Callable[..., Coroutine[Any, Any, ImapServer]]


@pytest_asyncio.fixture
async def imap_server(storage: Storage, tmp_path: Path) -> AsyncIterator[ServerFactory]:
    """`await imap_server(limits=..., times=..., append_limit=...)`: a service with all kinds of listeners."""
    servers: list[ImapServer] = []
    contexts = TlsContexts(ServerSettings(hostname="mail.example.org", data=tmp_path / "tls"))

    async def start(
        *,
        limits: SessionLimits | None = None,
        times: SessionTimes | None = None,
        append_limit: int = 52_428_800,
        on: Storage = storage,
        proxy: str | None = None,
        tls: Callable[[], ssl.SSLContext] = contexts.server_context,
        jmap_url: str = "",
    ) -> ImapServer:
        settings = ImapSettings(
            append_limit=append_limit, limits=limits or SessionLimits(), timeouts=times or SessionTimes()
        )
        tasks: set[asyncio.Task[None]] = set()

        def run(name: str, work: Coroutine[Any, Any, None]) -> None:
            task = asyncio.create_task(work, name=name)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        log = structlog.get_logger()
        parts = assemble_parts(on, settings, Metrics(), run, log, tls, "mail.example.org", jmap_url)
        on.on_change = parts.changes.heard
        door = Door(settings.limits.connections, settings.limits.connections_per_address)
        kinds = {"plain": ("none", True), "starttls": ("starttls", False), "implicit": ("implicit", False)}
        receptions = {
            name: make_reception(
                parts,
                ListenerSettings.model_validate(
                    {
                        "name": name,
                        "protocol": "imap",
                        "bind": "127.0.0.1:0",
                        "tls": mode,
                        "allow-plaintext-auth": plain,
                        "proxy-networks": [proxy] if proxy else [],
                    }
                ),
                door,
            )
            for name, (mode, plain) in kinds.items()
        }
        receptions["pop3"] = make_reception(
            parts,
            ListenerSettings.model_validate(
                {"name": "pop3", "protocol": "pop3", "bind": "127.0.0.1:0", "allow-plaintext-auth": True}
            ),
            door,
        )
        receptions |= {
            name: make_reception(
                parts,
                ListenerSettings.model_validate(
                    {
                        "name": name,
                        "protocol": "managesieve",
                        "bind": "127.0.0.1:0",
                        "tls": mode,
                        "allow-plaintext-auth": mode == "none",
                    }
                ),
                door,
            )
            for name, mode in {"sieve": "none", "sieve-starttls": "starttls"}.items()
        }
        for reception in receptions.values():
            reception.open()
        server = ImapServer(parts, receptions, tasks)
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest_asyncio.fixture
async def imap(imap_server: ServerFactory, account: Callable[..., Coroutine[Any, Any, Any]]) -> ImapServer:
    """A service with the account ann@example.org, whose password is "secret"."""
    await account("ann@example.org", password="secret")
    return await imap_server()
