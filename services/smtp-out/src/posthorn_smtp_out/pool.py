"""Connections of each destination: at most so many at once, and one is kept a while for the next message.

What is being opened or closed counts as open, so that the remote never counts more than the limit. A connection is
used again for the same destination and source only.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from posthorn_smtp_out.channel import Channel, ChannelLost, open_channel
from posthorn_smtp_out.dialing import connected
from posthorn_smtp_out.protocol.replies import Reply, ReplyFault
from posthorn_smtp_out.remote import Manners, Remote, Unwilling
from posthorn_smtp_out.resolver import NoRoute
from posthorn_smtp_out.routes import Destination, Hop, Router
from posthorn_smtp_out.sources import Source
from posthorn_smtp_out.tls.greeting import Greeter

MAX_ATTEMPTS = 6
"""Addresses tried for one connection (RFC 5321 5.1 asks for at least two)."""
Key = tuple[Destination, str]
"""Destination, with what its hosts must show, and the source's name."""


class Unreachable(Exception):
    """No connection could be had; `reply` says why, `remote` whom it came from ("" when from nobody)."""

    def __init__(self, reply: Reply, remote: str = "") -> None:
        self.reply = reply
        self.remote = remote
        super().__init__(reply.text)


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Per destination; `idle` in seconds."""

    connections: int
    messages: int
    idle: float


@dataclass(slots=True, eq=False)
class _Idle:
    key: Key
    remote: Remote
    timer: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """It is not to be closed by itself any more."""
        if self.timer is not None:
            self.timer.cancel()


@dataclass(slots=True)
class _Site:
    slots: asyncio.Semaphore
    limit: int
    open: int = 0
    """Connections there are, those included that are being opened or closed."""
    idle: list[_Idle] = field(default_factory=list)
    users: int = 0
    fewer: asyncio.Event = field(default_factory=asyncio.Event)

    def closed(self, _: object = None) -> None:
        """A connection is over."""
        self.open -= 1
        self.fewer.set()


class Pool:
    """The connections of one owner."""

    def __init__(
        self,
        router: Router,
        manners: Callable[[Destination], Manners],
        limits: PoolLimits,
        greeter: Greeter | None = None,
    ) -> None:
        self._greeter = greeter or Greeter()
        self._router = router
        self._manners = manners
        self._limits = limits
        self._sites: dict[str, _Site] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def become(self, manners: Callable[[Destination], Manners]) -> None:
        """Speak like this on connections that are opened from now on."""
        self._manners = manners

    @asynccontextmanager
    async def connection(self, destination: Destination, source: Source) -> AsyncIterator[Remote]:
        """A connection for one message: an idle one that is still good, or a new one. Raises Unreachable, NoRoute."""
        limit = self._limits.connections
        site = self._sites.setdefault(destination.key, _Site(asyncio.Semaphore(limit), limit))
        key = destination, source.name
        site.users += 1
        try:
            async with site.slots:
                remote = self._take(site, key) or await self._dial(site, destination, source)
                try:
                    yield remote
                except BaseException:
                    remote.abort()
                    raise
                self._give_back(site, key, remote)
        finally:
            site.users -= 1
            if not site.users and not site.open:
                self._sites.pop(destination.key, None)

    async def close(self) -> None:
        """Say QUIT on every idle connection, and return when they are closed or that takes too long."""
        for site in self._sites.values():
            while site.idle:
                self._end(site.idle[-1], site)
        if self._closing:
            await asyncio.wait(self._closing, timeout=2.0)

    def _take(self, site: _Site, key: Key) -> Remote | None:
        for entry in reversed([each for each in site.idle if each.key == key]):
            entry.stop()
            site.idle.remove(entry)
            if entry.remote.fresh:
                return entry.remote
            entry.remote.abort()
        return None

    def _give_back(self, site: _Site, key: Key, remote: Remote) -> None:
        if not remote.usable:
            return
        if remote.messages >= self._limits.messages or not self._limits.idle:
            self._quit(remote)
            return
        entry = _Idle(key, remote)
        entry.timer = asyncio.get_running_loop().call_later(self._limits.idle, self._end, entry, site)
        site.idle.append(entry)

    def _end(self, entry: _Idle, site: _Site) -> None:
        entry.stop()
        site.idle.remove(entry)
        self._quit(entry.remote)

    def _quit(self, remote: Remote) -> None:
        task = asyncio.create_task(remote.quit(), name="quit")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _room(self, site: _Site) -> None:
        """Wait until one more connection may be opened, and count it; an idle one of another source makes way."""
        while site.open >= site.limit:
            if site.idle:
                self._end(site.idle[0], site)
            site.fewer.clear()
            await site.fewer.wait()
        site.open += 1

    async def _dial(self, site: _Site, destination: Destination, source: Source) -> Remote:
        """Try the hops in their order; the last failure counts. A refusal at the door is never final (RFC 5321 5.1)."""
        manners = replace(self._manners(destination), hello=source.hello)
        failure = Unreachable(Reply(451, ("4.4.1 No address that this server's own addresses reach",)))

        async def connect(hop: Hop) -> Channel:
            await self._room(site)
            try:
                channel = await open_channel(hop.address, hop.port, manners.times.connect, source.local(hop.address))
            except BaseException:
                site.closed()
                raise
            channel.lost.add_done_callback(site.closed)
            return channel

        hops = [hop for hop in await self._router.hops(destination) if source.reaches(hop)]
        left = hops[:MAX_ATTEMPTS]
        while left:
            try:
                hop, channel = await connected(left, connect, lambda: site.open < site.limit)
            except ChannelLost as error:
                failure = Unreachable(Reply(451, (f"4.4.1 {error}",)))
                continue
            try:
                return await self._greeter.greet(hop, channel, partial(connect, hop), manners)
            except Unwilling as error:
                failure = Unreachable(_temporary(error.reply), str(hop))
            except (ChannelLost, ReplyFault) as error:
                failure = Unreachable(Reply(451, (f"4.4.1 {hop}: {error}",)))
        raise failure


def _temporary(reply: Reply) -> Reply:
    return Reply(451, (f"4.4.1 Not served now: {reply.text}",)) if reply.permanent else reply


__all__ = ["NoRoute", "Pool", "PoolLimits", "Unreachable"]
