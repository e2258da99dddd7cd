"""The composition root of maintenance: everything is built and handed in here, top to bottom."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from posthorn_assembly import Parts, assemble, roles
from posthorn_assembly.agreement import watch_agreement
from posthorn_bus import Owner, election, role_of
from posthorn_mail_auth.dns_client import DnsResolver
from posthorn_mail_auth.suffixes import PublicSuffixes
from posthorn_maintenance.api import cluster
from posthorn_maintenance.api.app import ApiApp
from posthorn_maintenance.api.call import Family
from posthorn_maintenance.api.queue import QueueApi
from posthorn_maintenance.api.suppressions import SuppressionApi
from posthorn_maintenance.bus_watch import EchoTest, NodeNotices, NodesHeard
from posthorn_maintenance.dkim.txt_lookup import TxtLookup
from posthorn_maintenance.duties import duties
from posthorn_maintenance.jobs.dkim import DkimRotation
from posthorn_maintenance.jobs.job import Job
from posthorn_maintenance.jobs.push import metrics_push
from posthorn_maintenance.jobs.report_round import REPORT_SECONDS
from posthorn_maintenance.jobs.reports import Post, ReportSending
from posthorn_maintenance.jobs.tls_reports import TlsPost, TlsReportSending
from posthorn_maintenance.jobs.web_push import WebPush
from posthorn_maintenance.roles import RoleWork, follow_wishes, watch_lists
from posthorn_maintenance.scheduler import Scheduler
from posthorn_maintenance.settings import MaintenanceSettings
from posthorn_maintenance.web_push.client import PushClient
from posthorn_node.http import HttpServer, serve
from posthorn_node.node import Node
from posthorn_node.settings import parse_bind
from posthorn_storage.roles import Lists


async def build(node: Node) -> "Maintenance":
    """Put the service together."""
    settings: MaintenanceSettings = node.own
    parts = await assemble(node)
    push, providers = metrics_push(node, parts.storage), node.settings.acme
    dkim = DkimRotation(parts.storage, node.settings.dkim, TxtLookup(node.settings.resolver), node.metrics)
    reports = _reports(node, parts)
    devices = _web_push(node, parts)
    does = duties(node.metrics, parts.storage, settings, parts.bus.publish, providers, dkim, push, reports, devices)
    eligible = {role: nodes for role, nodes in roles(node.settings).items() if role in does}
    shares = {role: max(1, len(nodes)) for role, nodes in eligible.items()}
    scheduler = Scheduler(parts.storage.role_jobs, node.metrics)
    work = RoleWork(node, parts.node_id, parts.storage.roles, scheduler, does, shares)
    owner = election(parts.bus, parts.leases, parts.node_id, eligible, work.run)
    name, shards = node.settings.cluster.name, node.settings.cluster.queue_shards
    echo = EchoTest(parts.echo, parts.storage.nodes, node.metrics, node.clock, node.log)
    node.metrics.registry.register(NodesHeard(parts.bus))
    elected = partial(_holds, owner, "metrics.calculate")
    node.tasks.start("echo test", echo.keep(settings.echo_interval, elected))
    notices = NodeNotices(parts.bus, node.clock, node.log)
    node.tasks.start("node notices", notices.listen())

    async def describe() -> dict[str, object]:
        return await cluster.describe(name, parts.storage, parts.bus, eligible, shards, echo.latest, notices.latest())

    token = settings.api_token.get_secret_value()
    families: dict[str, Family] = {
        "/api/queue": QueueApi(parts.storage, parts.bus.publish),
        "/api/suppressions": SuppressionApi(parts.storage.queue.suppressions),
    }
    api = ApiApp({"/api/cluster": describe}, token, node.log, {"/api/cluster/echo": echo.run}, families)
    return Maintenance(node, parts, owner, eligible, api, [])


def _reports(node: Node, parts: Parts) -> Sequence[Job]:
    """Of each kind of reports that the settings want sent."""
    settings, resolver, hostname = node.settings.reports, node.settings.resolver, node.settings.server.hostname
    asked = DnsResolver([parse_bind(text, default_port=53) for text in resolver.servers], timeout=resolver.timeout)
    jobs = []
    if settings.dmarc.enable:
        organization = PublicSuffixes().organizational_domain
        post = Post(settings.dmarc, hostname, asked, organization, parts.bus.publish)
        jobs.append(Job("dmarc", REPORT_SECONDS, ReportSending(parts.storage, post, node.metrics).step))
    if settings.tls.enable:
        tls = TlsPost(settings.tls, hostname, PushClient(settings.tls, asked), parts.bus.publish)
        jobs.append(Job("tls", REPORT_SECONDS, TlsReportSending(parts.storage, tls, node.metrics).step))
    return jobs


def _web_push(node: Node, parts: Parts) -> WebPush | None:
    """What pushes to devices; None when keys cannot be sealed."""
    if not parts.storage.push.usable:
        return None
    settings = node.settings.web_push
    servers = [parse_bind(text, default_port=53) for text in node.settings.resolver.servers]
    client = PushClient(settings, DnsResolver(servers, timeout=node.settings.resolver.timeout))
    contact = settings.contact or f"mailto:postmaster@{node.settings.server.hostname}"
    return WebPush(parts.storage, parts.bus, client, settings, contact, node.clock, node.metrics)


def _holds(owner: Owner, role: str) -> bool:
    return any(role_of(key)[0] == role for key in owner.owned)


@dataclass(slots=True)
class Maintenance:
    """The running service."""

    node: Node
    parts: Parts
    owner: Owner
    lists: Lists
    api: ApiApp
    servers: list[HttpServer]

    async def start(self) -> None:
        """Open the listeners, take part in the elections."""
        for listener in self.node.listeners("api"):
            self.servers.append(await serve(self.api, listener, self.node))
        await self.owner.start()
        node, roles = self.node, self.parts.storage.roles
        node.tasks.start("role wishes", lambda: follow_wishes(self.owner, roles, node.log), restart=True)
        node.tasks.start("role lists", lambda: watch_lists(roles, node.boot, self.lists, node.log), restart=True)
        node.tasks.start("agreement", lambda: watch_agreement(self.parts.storage, node.log), restart=True)

    async def drain(self) -> None:
        """Hand the roles over, finish requests."""
        await self.owner.stop()
        for server in self.servers:
            await server.drain()

    async def stop(self) -> None:
        """Close the rest."""
        for server in self.servers:
            await server.stop()
        await self.parts.close()
