"""The lookup store in Redis: one command or script on one key each, so that a cluster may place every key as it likes.

It connects when it is first used and again when it must: a Redis that is down holds up nobody's start. Every failure
of network, server or set-up is Unavailable, a server without memory Overloaded.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    RedisError,
)

from posthorn_model.errors import Overloaded, PosthornError, Unavailable
from posthorn_model.lookup import Take, Taken
from posthorn_storage.lookup.buckets import judged, moved, period_of
from posthorn_storage.lookup.redis_client import Client, Command, Server, places, sentinel_master, server_at
from posthorn_storage.lookup.redis_cluster import Address, Cluster
from posthorn_storage.lookup.redis_scripts import ADD, COUNT, JOIN, MEMBERS, SWAP, TAKE, Script
from posthorn_storage.settings import RedisSettings


class RedisLookup:
    """See the module; the methods are the port's. Raises ValueError for settings without a usable URL."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._client = _client(settings)

    async def count(self, key: str, ttl: float, amount: int = 1) -> int:
        return int(await self._script(COUNT, self._key("c", key), amount, _ms(ttl)))

    async def counts(self, keys: Collection[str]) -> Mapping[str, int]:
        return {key: int(value) for key, value in (await self._get("c", keys)).items()}

    async def take(self, wanted: Sequence[Take]) -> Sequence[Taken]:
        commands = [
            (self._key("l", take.key), moved(take, 0), period_of(take), "1" if take.cost else "0") for take in wanted
        ]
        ahead = await self._scripts(TAKE, commands)
        return [judged(take, int(found)) for take, found in zip(wanted, ahead, strict=True)]

    async def get(self, keys: Collection[str]) -> Mapping[str, bytes]:
        return await self._get("v", keys)

    async def put(self, values: Mapping[str, bytes], ttl: float) -> None:
        await self._each([("SET", self._key("v", key), value, "PX", _ms(ttl)) for key, value in values.items()])

    async def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        there: bytes | None = await self._script(ADD, self._key("v", key), value, _ms(ttl))
        return there

    async def swap(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        return bool(await self._script(SWAP, self._key("v", key), expected, value, _ms(ttl)))

    async def pop(self, key: str) -> bytes | None:
        (value,) = await self._each([("GETDEL", self._key("v", key))])
        return None if value is None else bytes(value)

    async def drop(self, keys: Collection[str]) -> None:
        await self._each([("DEL", self._key(kind, key)) for key in keys for kind in "clvs"])

    async def join(self, key: str, member: str, ttl: float, limit: int) -> int | None:
        size = int(await self._script(JOIN, self._key("s", key), member, int(ttl * 1_000_000), limit))
        return None if size < 0 else size

    async def leave(self, key: str, member: str) -> None:
        await self._each([("ZREM", self._key("s", key), member)])

    async def members(self, key: str) -> frozenset[str]:
        return frozenset(member.decode() for member in await self._script(MEMBERS, self._key("s", key)))

    async def probe(self) -> str:
        """A write, for a server without memory, without its disk or without its master answers a PING."""
        await self._each([("SET", self._key("v", "probe"), b"", "PX", 1000)])
        kind = "cluster" if self._settings.cluster else "sentinel" if self._settings.sentinel_master else "server"
        return f"Redis {kind}"

    async def close(self) -> None:
        await self._client.close()

    def _key(self, kind: str, key: str) -> str:
        return f"{self._settings.prefix}{kind}:{key}"

    async def _get(self, kind: str, keys: Collection[str]) -> dict[str, bytes]:
        found = await self._each([("GET", self._key(kind, key)) for key in keys])
        return {key: value for key, value in zip(keys, found, strict=True) if value is not None}

    async def _script(self, script: Script, key: str, *arguments: object) -> Any:
        return (await self._scripts(script, [(key, *arguments)]))[0]

    async def _scripts(self, script: Script, calls: Sequence[Command]) -> list[Any]:
        """Run a script by its name; the servers that do not know it (new, restarted) are sent its text."""
        found = await self._each([("EVALSHA", script.digest, 1, *call) for call in calls])
        unknown = [number for number, value in enumerate(found) if isinstance(value, NoScriptError)]
        if unknown:
            again = await self._each([("EVAL", script.text, 1, *calls[number]) for number in unknown])
            for number, value in zip(unknown, again, strict=True):
                found[number] = value
        return found

    async def _each(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands that need not be atomic together, NoScriptError among them."""
        step = str(commands[0][0])
        try:
            found = await self._client.run(commands)
        except (RedisError, OSError) as error:
            raise _translated(error, step) from error
        for answer in found:
            if isinstance(answer, Exception) and not isinstance(answer, NoScriptError):
                raise _translated(answer, step) from answer
        return found


def _client(settings: RedisSettings) -> Client:
    known = places(settings)
    if settings.cluster:
        first = known[0]

        def connect(address: Address) -> Server:
            host, port = address
            return server_at(settings, replace(first, host=host, port=port))

        return Cluster([(there.host, there.port) for there in known], connect)
    return sentinel_master(settings, known) if settings.sentinel_master else server_at(settings, known[0])


def _translated(error: Exception, step: str) -> PosthornError:
    fields = {"step": step, "cause": f"{type(error).__name__}: {error}"}
    if isinstance(error, OutOfMemoryError):
        return Overloaded("the lookup store is full", **fields)
    if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError):
        return Unavailable("the lookup store refuses its login", **fields)
    if isinstance(error, BusyLoadingError):
        return Unavailable("the lookup store is starting", **fields)
    return Unavailable("the lookup store does not answer", **fields)


def _ms(seconds: float) -> int:
    return math.ceil(seconds * 1000)
