"""Connections of each destination: at most so many at once, paced, and one is kept a while for the next message.

What is being opened or closed counts as open, so that the remote never counts more than the limit. A connection is
used again for the same destination and source only.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from posthorn_smtp_out.channel import Channel, ChannelLost, open_channel
from posthorn_smtp_out.dialing import connected
from posthorn_smtp_out.pacing import Limits, Pace
from posthorn_smtp_out.protocol.replies import Reply, ReplyFault
from posthorn_smtp_out.remote import Manners, Remote, Unwilling
from posthorn_smtp_out.resolver import NoRoute
from posthorn_smtp_out.routes import Destination, Hop, Router
from posthorn_smtp_out.slots import Slots
from posthorn_smtp_out.sources import Source
from posthorn_smtp_out.tls.greeting import Greeter
from posthorn_storage.queue import Ask, Granted

MAX_ATTEMPTS = 6
"""Addresses tried for one connection (RFC 5321 5.1 asks for at least two)."""
NO_OWN_ADDRESS = Reply(451, ("4.4.1 No address that this server's own addresses reach",))
MAX_SITES = 10_000
"""Destinations that are remembered before those of which nothing is known go."""
Key = tuple[Destination, str]
"""Destination, with what its hosts must show, and the source's name."""


class Unreachable(Exception):
    """No connection could be had; `reply` says why, `remote` whom it came from ("" when from nobody)."""

    def __init__(self, reply: Reply, remote: str = "") -> None:
        self.reply = reply
        self.remote = remote
        super().__init__(reply.text)


class BackingOff(Unreachable):
    """Nothing was tried, nor will be for `seconds` more: the destination is left alone, or a budget is used up."""

    def __init__(self, seconds: float, reply: Reply) -> None:
        self.seconds = seconds
        super().__init__(reply)


class NotNow(Exception):
    """Nothing was tried and nothing may be started any more: the shard is about to be another's."""


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
    pace: Pace
    slots: Slots
    relay: bool = False
    open: int = 0
    """Connections there are, those included that are being opened or closed."""
    idle: list[_Idle] = field(default_factory=list)
    users: int = 0
    asked: int = 0
    """Of a shared limit: what was wanted the last time."""
    fewer: asyncio.Event = field(default_factory=asyncio.Event)
    channels: set[Channel] = field(default_factory=set)

    def closed(self, channel: Channel | None = None) -> None:
        """A connection is over, or could not be made."""
        if channel is not None:
            self.channels.discard(channel)
        self.open -= 1
        self.fewer.set()

    def take(self, share: int, now: float) -> None:
        """So many connections may be open from now on."""
        if not self.pace.share and share and self.pace.limits.interval:
            # What others began just before counts too.
            self.pace.next_start = max(self.pace.next_start, now + self.pace.limits.interval)
        self.pace.share = share
        self.slots.resize(share)


class Pool:
    """The connections of one owner."""

    def __init__(
        self,
        router: Router,
        manners: Callable[[Destination], Manners],
        limits: Callable[[Destination], Limits],
        greeter: Greeter | None = None,
        *,
        schedule: Sequence[float] = (120.0,),
        clock: Callable[[], float] | None = None,
        shared: bool = False,
    ) -> None:
        """`schedule`: pauses of messages in seconds, by which destinations are left alone. `clock` is monotonic.

        `shared`: the limits are those of all processes; nothing is opened but what is granted (sharing.py).
        """
        self.wants = asyncio.Event()
        """Of shared limits: set when more is wanted than was asked for."""
        self._shared = shared
        self._greeter = greeter or Greeter()
        self._router = router
        self._manners = manners
        self._limits = limits
        self._schedule = schedule
        self._clock = clock or asyncio.get_running_loop().time
        self._began = self._clock()
        self._sites: dict[str, _Site] = {}
        self._wanting: set[str] = set()
        """Destinations of shared limits that want more than was asked for."""
        self._closing: set[asyncio.Task[None]] = set()

    def become(self, other: "Pool") -> None:
        """Speak as another one does, on connections that are opened from now on."""
        self._manners = other._manners

    def pace(self, destination: Destination) -> Pace:
        """How the destination is approached at the moment."""
        return self._site(destination).pace

    @asynccontextmanager
    async def connection(
        self, destination: Destination, source: Source, may_start: Callable[[], bool] = lambda: True
    ) -> AsyncIterator[Remote]:
        """A connection for one message: an idle one that is still good, or a new one.

        It may take a while until it is this message's turn; `may_start` is asked then. Raises Unreachable, BackingOff,
        NotNow, NoRoute.
        """
        site = self._site(destination)
        key = destination, source.name
        site.users += 1
        if self._shared and site.asked < site.users and site.asked < site.pace.limits.connections:
            self._wanting.add(destination.key)
            self.wants.set()
        try:
            async with site.slots.place(may_start):
                await self._turn(site.pace, may_start)
                remote = self._take(site, key) or await self._dial(site, destination, source, may_start)
                try:
                    yield remote
                except BaseException:
                    remote.abort()
                    raise
                self._give_back(site, key, remote)
        finally:
            site.users -= 1

    def refused(self, destination: Destination, reply: Reply) -> None:
        """The destination refuses everybody: it is left alone."""
        self.pace(destination).refused(self._clock(), reply, random.random())  # noqa: S311  no secret

    def backs_off(self, destination: Destination) -> BackingOff | None:
        """Why nothing may go there now; None when it may."""
        pace, now = self.pace(destination), self._clock()
        return _left_alone(pace, now) if pace.backing_off(now) else None

    def asks(self, *, more: bool = False) -> list[Ask]:
        """What to ask of shared limits now; `more`: only of those of which more is wanted than was asked for.

        What is said not to be kept is not used from here on.
        """
        found = []
        names, self._wanting = self._wanting if more else self._sites, set()
        for name in names:
            if (site := self._sites.get(name)) is None:
                continue
            most = site.pace.limits.connections
            wanted = min(most, max(site.users, site.open))
            if site.slots.size > max(wanted, site.open):
                site.slots.resize(max(wanted, site.open))
            kept = max(site.slots.size, site.open)
            if wanted or kept or site.asked or site.pace.share:
                found.append(Ask(name, most, wanted, kept, spread=not site.relay))
            site.asked = wanted
        return found

    def grant(self, name: str, granted: Granted | None) -> None:
        """The answer; None: the limit is not shared out. Connections beyond the target are closed as they get free."""
        site = self._sites.get(name)
        if site is None:
            return
        site.take(min(granted.connections, granted.target) if granted is not None else 0, self._clock())
        for entry in site.idle[: max(0, site.open - site.slots.size)]:
            self._end(entry, site)

    def cut(self) -> None:
        """Nothing is granted any more: cut everything, also what is in use."""
        for site in self._sites.values():
            site.take(0, self._clock())
            for channel in tuple(site.channels):
                channel.abort()
        self.abort()

    def dismiss(self, name: str) -> None:
        """Who waits for a connection to this destination is told to look again."""
        if name in self._sites:
            self._sites[name].slots.dismiss(NotNow())

    def dismiss_in_vain(self) -> None:
        """The same for those who may not start any more, wherever they want to go."""
        for site in self._sites.values():
            site.slots.dismiss(NotNow(), vain=True)

    async def retire(self, name: str) -> None:
        """Close what nobody uses of a destination, and return when it has no connection any more."""
        site = self._sites.get(name)
        while site is not None and site.open:
            while site.idle:
                self._end(site.idle[-1], site)
            site.fewer.clear()
            await site.fewer.wait()

    def abort(self) -> None:
        """Cut every idle connection; the others are cut by the end of those that use them."""
        for site in self._sites.values():
            while site.idle:
                site.idle[-1].stop()
                site.idle.pop().remote.abort()

    async def close(self) -> None:
        """Say QUIT on every idle connection, and return when they are closed or that takes too long."""
        for site in self._sites.values():
            while site.idle:
                self._end(site.idle[-1], site)
        if self._closing:
            await asyncio.wait(self._closing, timeout=2.0)

    def _site(self, destination: Destination) -> _Site:
        site = self._sites.get(destination.key)
        if site is None:
            self._forget()
            limits = self._limits(destination)
            # What a former owner began just before counts too.
            pace = Pace(limits, self._schedule, next_start=self._began + limits.interval)
            if self._shared:
                pace.share = 0
            slots = Slots(pace.connections)
            site = self._sites[destination.key] = _Site(pace, slots, destination.relay is not None)
        return site

    def _forget(self) -> None:
        """Drop destinations that nothing is known of, once there are many."""
        if len(self._sites) >= MAX_SITES:
            now = self._clock()
            for key, site in tuple(self._sites.items()):
                pace = site.pace
                busy = site.users or site.open or site.asked or pace.share
                if not (busy or pace.failures or pace.next_start > now or pace.recipients):
                    del self._sites[key]

    async def _turn(self, pace: Pace, may_start: Callable[[], bool]) -> None:
        """Wait for this transaction's turn. Raises BackingOff, NotNow."""
        now = self._clock()
        if pace.backing_off(now):
            raise _left_alone(pace, now)
        if pace.limits.interval:
            await asyncio.sleep(pace.turn(now))
            now = self._clock()
            if pace.backing_off(now):
                raise _left_alone(pace, now)
        if not may_start():
            raise NotNow

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
        limits = site.pace.limits
        if remote.messages >= limits.messages or not limits.idle or site.open > site.slots.size:
            self._quit(remote)
            return
        entry = _Idle(key, remote)
        entry.timer = asyncio.get_running_loop().call_later(limits.idle, self._end, entry, site)
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
        while site.open >= site.slots.size:
            if site.idle:
                self._end(site.idle[0], site)
            site.fewer.clear()
            await site.fewer.wait()
        site.open += 1

    async def _dial(
        self, site: _Site, destination: Destination, source: Source, may_start: Callable[[], bool]
    ) -> Remote:
        """Try the hops in their order. When none takes us the destination is left alone for a while.

        Not so for what is asked for one message alone, such as a source or verified TLS. The last failure counts. A
        refusal at the door is never final (RFC 5321 5.1).
        """
        try:
            return await self._first_willing(site, destination, source, may_start)
        except (Unreachable, NoRoute) as error:
            if not error.reply.permanent and error.reply is not NO_OWN_ADDRESS and not destination.verified:
                self.refused(destination, error.reply)
            raise

    async def _first_willing(
        self, site: _Site, destination: Destination, source: Source, may_start: Callable[[], bool]
    ) -> Remote:
        manners = replace(self._manners(destination), hello=source.hello)
        failure = Unreachable(NO_OWN_ADDRESS)

        async def connect(hop: Hop) -> Channel:
            await self._room(site)
            if not may_start():  # DNS may have taken long, or this process stood still: the site is another's by now
                site.closed()
                raise NotNow
            try:
                channel = await open_channel(hop.address, hop.port, manners.times.connect, source.local(hop.address))
            except BaseException:
                site.closed()
                raise
            site.channels.add(channel)
            channel.lost.add_done_callback(lambda _: site.closed(channel))
            return channel

        hops = [hop for hop in await self._router.hops(destination) if source.reaches(hop)]
        left = hops[:MAX_ATTEMPTS]
        while left:
            try:
                hop, channel = await connected(left, connect, lambda: site.open < site.slots.size)
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


def _left_alone(pace: Pace, now: float) -> BackingOff:
    said = pace.reason.text if pace.reason is not None else ""
    reply = Reply(451, (f"4.4.5 The destination is left alone for a while; last: {said}",))
    return BackingOff(pace.until - now, reply)


def _temporary(reply: Reply) -> Reply:
    return Reply(451, (f"4.4.1 Not served now: {reply.text}",)) if reply.permanent else reply


__all__ = ["BackingOff", "NoRoute", "NotNow", "Pool", "Unreachable"]
