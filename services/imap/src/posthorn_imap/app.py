"""The composition root of imap (and POP3, ManageSieve): everything is built and handed in here, top to bottom."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from structlog.typing import FilteringBoundLogger

import posthorn_assembly
from posthorn_imap.changes import Changes, Start
from posthorn_imap.figures import Figures
from posthorn_imap.logins import Logins
from posthorn_imap.mailbox_tree import OwnTrees
from posthorn_imap.memory import Budget
from posthorn_imap.parts import Parts
from posthorn_imap.reception import PROTOCOLS, make_reception, welcome
from posthorn_imap.settings import CHANGEABLE, ImapSettings
from posthorn_model.clock import SystemClock
from posthorn_model.events import Changed
from posthorn_node.metrics import Metrics
from posthorn_node.node import Node
from posthorn_node.settings import ListenerSettings
from posthorn_node.stream.door import Door
from posthorn_node.stream.reception import CHANGEABLE_OF_LISTENERS, Reception
from posthorn_storage import Storage


async def build(node: Node) -> "Imap":
    """Put the service together."""
    settings: ImapSettings = node.own
    cluster = await posthorn_assembly.assemble(node)
    storage, bus = cluster.storage, cluster.bus
    parts = assemble_parts(
        storage,
        settings,
        node.metrics,
        node.tasks.start,
        node.log,
        node.tls.server_context,
        node.settings.server.hostname,
        jmap_session(settings.jmap_url, node.listeners("jmap")),
    )

    def changed(event: Changed) -> None:
        """Own sessions hear at once, the other processes by the bus (flows.md A.7)."""
        parts.changes.heard(event)
        bus.publish(event)

    storage.on_change = changed
    door = Door(settings.limits.connections, settings.limits.connections_per_address, node.bans)
    receptions = [make_reception(parts, listener, door, node.sockets) for listener in node.listeners(*PROTOCOLS)]

    def take() -> None:
        changed: ImapSettings = node.own
        door.become(changed.limits.connections, changed.limits.connections_per_address)
        parts.logins.limit(changed.limits.connections_per_account)
        for reception, listener in zip(receptions, node.listeners(*PROTOCOLS), strict=True):
            reception.become(listener, welcome(replace(parts, settings=changed), listener, door, node.sockets))

    node.rereads((*CHANGEABLE, *CHANGEABLE_OF_LISTENERS), take)
    return Imap(node, cluster, parts, receptions)


def assemble_parts(
    storage: Storage,
    settings: ImapSettings,
    metrics: Metrics,
    start: Start,
    log: FilteringBoundLogger,
    tls_context: Callable[..., ssl.SSLContext],
    hostname: str,
    jmap_url: str = "",
) -> Parts:
    """What the sessions are handed."""
    figures, clock = Figures(metrics), SystemClock()
    return Parts(
        storage=storage,
        changes=Changes(storage.mail, log, start, figures.found_late.inc),
        trees=OwnTrees(storage.mail, clock.monotonic),
        logins=Logins(storage.directory, per_account=settings.limits.connections_per_account),
        settings=settings,
        append_memory=Budget(settings.limits.append_memory),
        body_memory=Budget(settings.limits.body_memory),
        compressed=Budget(settings.limits.compressed),
        figures=figures,
        clock=clock,
        log=log,
        tls_context=tls_context,
        hostname=hostname,
        jmap_url=jmap_url,
    )


def jmap_session(said: str, listeners: Sequence[ListenerSettings]) -> str:
    """The URL of the JMAP session object (RFC 8620 2.2): below what is said, or what a listener of JMAP says."""
    base = said or next((listener.url for listener in listeners if listener.url), "")
    return f"{base.rstrip('/')}/.well-known/jmap" if base else ""


@dataclass(slots=True)
class Imap:
    """The running service."""

    node: Node
    cluster: posthorn_assembly.Parts
    parts: Parts
    receptions: list[Reception]

    async def start(self) -> None:
        """Follow the changes, open the listeners. Raises ListenError, TlsError."""
        if any(listener.tls != "none" for listener in self.node.listeners(*PROTOCOLS)):
            self.node.tls.server_context()  # a certificate that cannot be used must show now, not at the first client
        changes, settings = self.parts.changes, self.parts.settings
        self.node.tasks.start("follow changes", changes.hear(self.cluster.bus))
        self.node.tasks.start("look for changes", changes.check_for_ever(settings.timeouts.self_check))
        for reception in self.receptions:
            reception.open()

    async def drain(self) -> None:
        """Stop accepting; sessions end with BYE between two commands (flows.md G)."""
        await asyncio.gather(*(reception.drain() for reception in self.receptions))

    async def stop(self) -> None:
        """End what is left, close the rest."""
        await asyncio.gather(*(reception.stop() for reception in self.receptions))
        await self.cluster.close()
