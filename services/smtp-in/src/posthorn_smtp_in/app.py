"""The composition root of smtp-in: everything is built and handed in here, top to bottom."""

import asyncio
from dataclasses import dataclass

import posthorn_assembly
from posthorn_node.run import Node
from posthorn_smtp_in.figures import Figures
from posthorn_smtp_in.limits import Door
from posthorn_smtp_in.listening import ReceptionDesk
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.settings import SmtpInSettings


async def build(node: Node) -> "SmtpIn":
    """Put the service together."""
    settings: SmtpInSettings = node.own
    cluster = await posthorn_assembly.assemble(node, duplicate_window=settings.duplicate_window)
    spool = node.settings.server.data / "spool"
    spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    parts = Parts(
        settings=settings,
        hostname=node.settings.server.hostname,
        storage=cluster.storage,
        publish=cluster.bus.publish,
        tls_context=node.tls.server_context,
        clock=node.clock,
        log=node.log,
        figures=Figures(node.metrics),
        door=Door(settings.limits.connections, settings.limits.connections_per_address),
        spool=spool,
        large=asyncio.Semaphore(settings.limits.large_deliveries),
    )
    desks = [ReceptionDesk(parts, listener) for listener in node.listeners("smtp", "submission", "lmtp")]
    return SmtpIn(node, cluster, desks)


@dataclass(slots=True)
class SmtpIn:
    """The running service."""

    node: Node
    cluster: posthorn_assembly.Parts
    desks: list[ReceptionDesk]

    async def start(self) -> None:
        """Open the listeners; raises ListenError, TlsError."""
        if any(listener.tls != "none" for listener in self.node.listeners("smtp", "submission", "lmtp")):
            self.node.tls.server_context()  # a certificate that cannot be used must show now, not at the first STARTTLS
        for desk in self.desks:
            desk.open()

    async def drain(self) -> None:
        """Stop accepting; sessions end with 421 between two transactions (flows.md G)."""
        await asyncio.gather(*(desk.drain() for desk in self.desks))

    async def stop(self) -> None:
        """End what is left, close the rest."""
        await asyncio.gather(*(desk.stop() for desk in self.desks))
        await self.cluster.close()
