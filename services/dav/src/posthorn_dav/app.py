"""The composition root of dav: everything is built and handed in here, top to bottom."""

from dataclasses import dataclass

from posthorn_assembly import Parts, assemble
from posthorn_dav.flow import DavApp
from posthorn_dav.settings import DavSettings
from posthorn_node import Node
from posthorn_node.http import HttpServer, serve
from posthorn_node.settings import ListenerSettings


async def build(node: Node) -> "Dav":
    """Put the service together."""
    parts = await assemble(node)
    requests = node.metrics.counter("dav_requests", "DAV requests answered", ["method", "status"])

    def count(method: str, status: int) -> None:
        requests.labels(method, str(status)).inc()

    def app(listener: ListenerSettings) -> DavApp:
        settings: DavSettings = node.own
        return DavApp(parts.storage, settings, node.log, count, listener.allow_plaintext_auth)

    apps = [(listener, app(listener)) for listener in node.listeners("dav")]
    return Dav(node, parts, apps, [])


@dataclass(slots=True)
class Dav:
    """The running service."""

    node: Node
    parts: Parts
    apps: list[tuple[ListenerSettings, DavApp]]
    servers: list[HttpServer]

    async def start(self) -> None:
        """Open the listeners."""
        for listener, app in self.apps:
            self.servers.append(await serve(app, listener, self.node))

    async def drain(self) -> None:
        """Finish requests."""
        for server in self.servers:
            await server.drain()

    async def stop(self) -> None:
        """Close the rest."""
        for server in self.servers:
            await server.stop()
        await self.parts.close()
