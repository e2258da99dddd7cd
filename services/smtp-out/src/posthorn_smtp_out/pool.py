"""Connections of each destination: at most so many at once, and one is kept a while for the next message."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from posthorn_smtp_out.channel import ChannelLost
from posthorn_smtp_out.protocol.replies import Reply, ReplyFault
from posthorn_smtp_out.remote import Manners, Remote, Unwilling, call
from posthorn_smtp_out.resolver import NoRoute
from posthorn_smtp_out.routes import Destination, Hop, Router

MAX_ATTEMPTS = 6
"""Addresses tried for one connection (RFC 5321 5.1 asks for at least two)."""


class Unreachable(Exception):
    """No connection could be had; `reply` says why, `remote` whom it came from ("" when from nobody)."""

    def __init__(self, reply: Reply, remote: str = "") -> None:
        self.reply = reply
        self.remote = remote
        super().__init__(reply.text)


@dataclass(slots=True)
class _Site:
    slots: asyncio.Semaphore
    idle: list[tuple[Remote, asyncio.TimerHandle]] = field(default_factory=list)
    users: int = 0


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Per destination; `idle` in seconds."""

    connections: int
    messages: int
    idle: float


class Pool:
    """All connections of the process."""

    def __init__(self, router: Router, manners: Callable[[Destination], Manners], limits: PoolLimits) -> None:
        self._router = router
        self._manners = manners
        self._limits = limits
        self._sites: OrderedDict[tuple[str, bool], _Site] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def connection(self, destination: Destination) -> AsyncIterator[Remote]:
        """A connection for one message: an idle one that is still good, or a new one. Raises Unreachable, NoRoute."""
        name = destination.key, destination.verified
        site = self._sites.setdefault(name, _Site(asyncio.Semaphore(self._limits.connections)))
        site.users += 1
        try:
            async with site.slots:
                remote = self._take(site) or await self._dial(destination)
                try:
                    yield remote
                except BaseException:
                    remote.abort()
                    raise
                self._give_back(site, remote)
        finally:
            site.users -= 1
            if not site.users and not site.idle:
                self._sites.pop(name, None)

    async def close(self) -> None:
        """Say QUIT on every idle connection."""
        for site in list(self._sites.values()):
            while site.idle:
                remote, timer = site.idle.pop()
                timer.cancel()
                self._end(remote)
        if self._closing:
            await asyncio.wait(self._closing, timeout=2.0)

    def _take(self, site: _Site) -> Remote | None:
        while site.idle:
            remote, timer = site.idle.pop()
            timer.cancel()
            if remote.fresh:
                return remote
            remote.abort()
        return None

    def _give_back(self, site: _Site, remote: Remote) -> None:
        if not remote.usable:
            return
        if remote.messages >= self._limits.messages or not self._limits.idle:
            self._end(remote)
            return
        entry: list[tuple[Remote, asyncio.TimerHandle]] = []

        def expire() -> None:
            site.idle.remove(entry[0])
            self._end(remote)

        entry.append((remote, asyncio.get_running_loop().call_later(self._limits.idle, expire)))
        site.idle.append(entry[0])

    def _end(self, remote: Remote) -> None:
        task = asyncio.create_task(remote.quit(), name="quit")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _dial(self, destination: Destination) -> Remote:
        """Try the hops in their order; the last failure counts. A refusal at the door is never final (RFC 5321 5.1)."""
        manners = self._manners(destination)
        failure = Unreachable(Reply(451, ("4.4.1 No address to try",)))
        for hop in (await self._router.hops(destination))[:MAX_ATTEMPTS]:
            try:
                return await call(hop.host, hop.address, hop.port, manners)
            except Unwilling as error:
                failure = Unreachable(_temporary(error.reply), _name(hop))
            except (ChannelLost, ReplyFault) as error:
                failure = Unreachable(Reply(451, (f"4.4.1 {_name(hop)}: {error}",)))
        raise failure


def _temporary(reply: Reply) -> Reply:
    return Reply(451, (f"4.4.1 Not served now: {reply.text}",)) if reply.permanent else reply


def _name(hop: Hop) -> str:
    return f"{hop.host} [{hop.address}]:{hop.port}"


__all__ = ["NoRoute", "Pool", "PoolLimits", "Unreachable"]
