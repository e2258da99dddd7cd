"""The composition root of dav: everything is built and handed in here, top to bottom."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from posthorn_assembly import Parts, assemble
from posthorn_dav.figures import Figures
from posthorn_dav.flow import DavApp
from posthorn_dav.settings import DavSettings
from posthorn_node.http import HttpServer, Latest, serve
from posthorn_node.node import Node
from posthorn_node.settings import ListenerSettings
from posthorn_node.settings.comparison import all_but


async def build(node: Node) -> "Dav":
    """Put the service together."""
    parts = await assemble(node)
    figures = Figures(node.metrics)

    def app(listener: ListenerSettings) -> DavApp:
        settings: DavSettings = node.own
        return DavApp(parts.storage, settings, node.log, node.clock, figures.answered, listener.allow_plaintext_auth)

    apps = {listener.name: Latest(app(listener)) for listener in node.listeners("dav")}

    def take() -> None:
        for listener in node.listeners("dav"):
            apps[listener.name].app = app(listener)

    node.rereads((*all_but("dav", DavSettings, "processes"), "server.listener.*.allow-plaintext-auth"), take)
    return Dav(node, parts, figures, apps, [])


@dataclass(slots=True)
class Dav:
    """The running service."""

    node: Node
    parts: Parts
    figures: Figures
    apps: Mapping[str, Latest]
    """By listener."""
    servers: list[HttpServer]

    async def start(self) -> None:
        """Open the listeners."""
        for listener in self.node.listeners("dav"):
            server = await serve(self.apps[listener.name], listener, self.node)
            self.figures.connections.labels(listener.name).set_function(partial(getattr, server, "connections"))
            self.servers.append(server)

    async def drain(self) -> None:
        """Finish requests."""
        for server in self.servers:
            await server.drain()

    async def stop(self) -> None:
        """Close the rest."""
        for server in self.servers:
            await server.stop()
        await self.parts.close()
