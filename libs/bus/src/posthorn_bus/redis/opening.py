"""Which Redis server to connect to: the one that is named, the master that sentinels name, or any of a cluster."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from posthorn_bus.broadcast.wire import Cut, Hear, Opening, Wire
from posthorn_bus.redis.connection import Connections, Line, import_redis
from posthorn_bus.redis.wire import RedisWire
from posthorn_bus.settings import BusIdentity, RedisSettings, Server

ASK = 2.0
"""Seconds for a sentinel's answer."""
MOST = 1000
"""Nodes of a cluster that are remembered."""


def redis_opening(settings: RedisSettings, identity: BusIdentity) -> Opening:
    """What opens connections to this Redis.

    Raises ImportError when redis-py is not installed, OSError or ssl.SSLError for certificates that cannot be read.
    """
    import_redis()
    connections = Connections(settings, f"posthorn-{identity.member}")
    known: list[Server] = []

    async def opening(hear: Hear) -> Wire:
        if settings.kind == "sentinel":
            server = await _master(settings, connections)
            return await RedisWire.open(connections, server, hear, "Redis master", must_be_master=True)
        if settings.kind == "server":
            return await RedisWire.open(connections, settings.servers[0], hear, "Redis")
        reasons = []
        for server in random.sample(everybody := list(dict.fromkeys((*settings.servers, *known))), len(everybody)):
            try:
                wire = await RedisWire.open(connections, server, hear, "Redis cluster")
            except Cut as cut:
                reasons.append(str(cut))
                continue
            known[:] = [node for node in await wire.nodes() if node not in settings.servers][:MOST]
            return wire
        raise Cut("; ".join(sorted(reasons)[:10]))

    return opening


@dataclass(frozen=True, slots=True)
class _State:
    """What one sentinel says of the master."""

    name: str
    server: Server
    epoch: int
    alive: bool


async def _master(settings: RedisSettings, connections: Connections) -> Server:
    """Ask all sentinels at once, and believe the newest election that any of them knows of. Raises Cut.

    Right after a fail-over the first that answers may be one that has not heard of it.
    """
    answers = await asyncio.gather(
        *(_ask(connections, sentinel, settings.master) for sentinel in settings.servers), return_exceptions=True
    )
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    for failure in failures:
        if not isinstance(failure, Cut):
            raise failure
    states = [state for answer in answers if not isinstance(answer, BaseException) for state in answer]
    names = sorted({state.name for state in states})
    if len(names) > 1:
        raise Cut(f"the sentinels watch several masters ({', '.join(names[:10])}): name one in sentinel.master")
    if not states:
        raise Cut("; ".join(sorted(map(str, failures))[:10]) or "the sentinels watch no such master")
    newest = max(states, key=lambda state: state.epoch)
    if not newest.alive:
        raise Cut(f"the sentinels hold the Redis master {newest.name} for dead")
    return newest.server


async def _ask(connections: Connections, sentinel: Server, name: str) -> Sequence[_State]:
    line = Line(connections, sentinel, "sentinel", sentinel=True)
    try:
        async with asyncio.timeout(ASK):
            await line.connect()
            answer = await line.ask("SENTINEL", *(("MASTER", name) if name else ("MASTERS",)))
    except TimeoutError:
        raise Cut(f"{line.place}: it does not answer") from None
    finally:
        await line.close()
    return [_state(fields) for fields in ([answer] if name else answer)]


def _state(answer: Sequence[bytes]) -> _State:
    texts = [str(word, "utf-8", "replace") for word in answer]
    fields: Mapping[str, Any] = dict(zip(texts[::2], texts[1::2], strict=False))
    try:
        server = Server(fields["ip"], int(fields["port"]))
        flags = fields["flags"].split(",")
        alive = "master" in flags and not {"s_down", "o_down"}.intersection(flags)
        return _State(fields["name"], server, int(fields["config-epoch"]), alive)
    except (KeyError, ValueError):
        raise Cut("a sentinel's answer cannot be read") from None
