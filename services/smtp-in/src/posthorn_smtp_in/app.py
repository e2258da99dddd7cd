"""The composition root of smtp-in: everything is built and handed in here, top to bottom."""

import asyncio
from dataclasses import dataclass, replace

import posthorn_assembly
from posthorn_delivery import Scripts, make_scripts
from posthorn_mail_auth.dns_client import DnsResolver
from posthorn_node.node import Node
from posthorn_node.settings import parse_bind
from posthorn_node.settings.comparison import all_but
from posthorn_node.stream.door import Door
from posthorn_node.stream.reception import CHANGEABLE_OF_LISTENERS, Reception
from posthorn_smtp_in.figures import Figures
from posthorn_smtp_in.filters.roster import Roster, make_roster
from posthorn_smtp_in.judging.judging import Judging, make_judging
from posthorn_smtp_in.listening import make_reception, welcome
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.settings import SmtpInSettings
from posthorn_storage.dmarc import DmarcTally

PROTOCOLS = ("smtp", "submission", "lmtp")


async def build(node: Node) -> "SmtpIn":
    """Put the service together."""
    settings: SmtpInSettings = node.own
    listeners = node.listeners(*PROTOCOLS)
    filters = make_roster(settings.filter, listeners)
    cluster = await posthorn_assembly.assemble(node, duplicate_window=settings.duplicate_window)
    spool = node.settings.server.data / "spool"
    spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    figures = Figures(node.metrics)
    servers = [parse_bind(text, default_port=53) for text in node.settings.resolver.servers]
    tally = DmarcTally(cluster.storage.dmarc) if node.settings.reports.dmarc.enable else None
    if tally is not None:
        node.tasks.start("results for reports", tally.keep, restart=True)
    resolver = DnsResolver(servers, timeout=node.settings.resolver.timeout)

    def judging() -> Judging:
        own: SmtpInSettings = node.own
        return make_judging(
            own.auth,
            node.listeners(*PROTOCOLS),
            relays=own.relay.networks,
            resolver=resolver,
            figures=figures,
            clock=node.clock,
            log=node.log,
            observe=None if tally is None else tally.add,
        )

    parts = Parts(
        settings=settings,
        hostname=node.settings.server.hostname,
        storage=cluster.storage,
        publish=cluster.bus.publish,
        tls_context=node.tls.server_context,
        clock=node.clock,
        log=node.log,
        figures=figures,
        filters=filters,
        judging=judging(),
        door=Door(settings.limits.connections, settings.limits.connections_per_address, node.bans),
        spool=spool,
        large=asyncio.Semaphore(settings.limits.large_deliveries),
        scripts=_scripts(node, cluster),
    )
    receptions = [make_reception(parts, each, node.sockets) for each in listeners]
    _tell_of_unused(node)
    service = SmtpIn(node, cluster, receptions, filters, tally)

    def take() -> None:
        changed: SmtpInSettings = node.own
        service.ask(make_roster(changed.filter, node.listeners(*PROTOCOLS)), changed.timeouts.session)
        parts.door.become(changed.limits.connections, changed.limits.connections_per_address)
        large = asyncio.Semaphore(changed.limits.large_deliveries)
        now = replace(parts, settings=changed, filters=service.filters, judging=judging(), large=large)
        for reception, listener in zip(receptions, node.listeners(*PROTOCOLS), strict=True):
            reception.become(listener, welcome(now, listener, node.sockets))

    may = all_but("smtp-in", SmtpInSettings, "processes", "duplicate-window")
    node.rereads((*may, *CHANGEABLE_OF_LISTENERS), take)
    return service


def _scripts(node: Node, cluster: posthorn_assembly.Parts) -> Scripts:
    settings = node.settings
    return make_scripts(cluster.storage, settings.server.hostname, node.clock, node.log, seal=settings.arc.seal)


def _tell_of_unused(node: Node) -> None:
    own: SmtpInSettings = node.own
    for name in sorted(own.listener.keys() - {each.name for each in node.listeners(*PROTOCOLS)}):
        node.log.warning(f'smtp-in.listener "{name}" is not used: no listener of that name takes mail here')


@dataclass(slots=True)
class SmtpIn:
    """The running service."""

    node: Node
    cluster: posthorn_assembly.Parts
    receptions: list[Reception]
    filters: Roster
    tally: DmarcTally | None

    async def start(self) -> None:
        """Open the listeners; raises ListenError, TlsError."""
        if any(listener.tls != "none" for listener in self.node.listeners(*PROTOCOLS)):
            self.node.tls.server_context()  # a certificate that cannot be used must show now, not at the first STARTTLS
        for reception in self.receptions:
            reception.open()

    def ask(self, filters: Roster, session: float) -> None:
        """Ask other filters from now on; sessions that began with those of before end within `session` seconds."""
        asyncio.get_running_loop().call_later(session, self.filters.close)
        self.filters = filters

    async def drain(self) -> None:
        """Stop accepting; sessions end with 421 between two transactions (flows.md G)."""
        await asyncio.gather(*(reception.drain() for reception in self.receptions))

    async def stop(self) -> None:
        """End what is left, close the rest."""
        await asyncio.gather(*(reception.stop() for reception in self.receptions))
        self.filters.close()
        if self.tally is not None:
            await self.tally.close()
        await self.cluster.close()
