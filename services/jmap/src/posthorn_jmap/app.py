"""The composition root of jmap: everything is built and handed in here, top to bottom."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from posthorn_assembly import Parts, assemble
from posthorn_jmap.calls import Calls
from posthorn_jmap.figures import Figures
from posthorn_jmap.flow import JmapApp
from posthorn_jmap.gates import Gates
from posthorn_jmap.methods.push_subscription import application_key
from posthorn_jmap.push import Watchers
from posthorn_jmap.registry import METHODS
from posthorn_jmap.settings import JmapSettings
from posthorn_node.http import HttpServer, Latest, serve
from posthorn_node.node import Node
from posthorn_node.settings import ListenerSettings
from posthorn_node.settings.comparison import all_but


async def build(node: Node) -> "Jmap":
    """Put the service together."""
    parts = await assemble(node)
    figures = Figures(node.metrics)
    watchers = Watchers(parts.storage, parts.bus, node.log, figures.missed.inc)
    figures.event_sources.set_function(partial(getattr, watchers, "open"))
    calls = Calls(METHODS, node.log)
    vapid = await application_key(parts.storage)
    gates = Gates(_settings(node).limits())
    ended = asyncio.Event()

    def app(listener: ListenerSettings) -> JmapApp:
        return JmapApp(
            storage=parts.storage,
            settings=_settings(node),
            calls=calls,
            watchers=watchers,
            gates=gates,
            log=node.log,
            clock=node.clock,
            answered=figures.answered,
            publish=parts.bus.publish,
            base=listener.url.rstrip("/"),
            hostname=node.settings.server.hostname,
            plaintext_login=listener.allow_plaintext_auth,
            web_push=node.settings.web_push,
            vapid=vapid,
            ended=ended,
        )

    apps = {listener.name: Latest(app(listener)) for listener in node.listeners("jmap")}

    def take() -> None:
        gates.limits = _settings(node).limits()
        for listener in node.listeners("jmap"):
            apps[listener.name].app = app(listener)

    may = all_but("jmap", JmapSettings, "processes", "self-check")
    node.rereads((*may, "server.listener.*.allow-plaintext-auth"), take)
    return Jmap(node, parts, figures, apps, watchers, ended, [])


def _settings(node: Node) -> JmapSettings:
    found: JmapSettings = node.own
    return found


@dataclass(slots=True)
class Jmap:
    """The running service."""

    node: Node
    parts: Parts
    figures: Figures
    apps: Mapping[str, Latest]
    """By listener."""
    watchers: Watchers
    ended: asyncio.Event
    servers: list[HttpServer]

    async def start(self) -> None:
        """Hear the bus, open the listeners."""
        self.node.tasks.start("push: hear the bus", self.watchers.listen())
        self.node.tasks.start("push: self-check", self.watchers.check_on(_settings(self.node).self_check))
        for listener in self.node.listeners("jmap"):
            server = await serve(self.apps[listener.name], listener, self.node)
            self.figures.connections.labels(listener.name).set_function(partial(getattr, server, "connections"))
            self.servers.append(server)

    async def drain(self) -> None:
        """End the event sources, finish requests."""
        self.ended.set()
        for server in self.servers:
            await server.drain()

    async def stop(self) -> None:
        """Close the rest."""
        self.ended.set()
        for server in self.servers:
            await server.stop()
        await self.parts.close()
