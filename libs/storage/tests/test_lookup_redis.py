"""Redis that is down, moves, refuses or is full: clear errors at once, and service again without anybody's help."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from posthorn_ctl.embedded.errors import PartError
from posthorn_model.clock import SystemClock
from posthorn_model.errors import Overloaded, Unavailable
from posthorn_model.lookup import MAX_VALUE, Take
from posthorn_model.ports import Clock
from posthorn_storage import RedisSettings
from posthorn_storage.lookup import Lookup
from posthorn_storage.lookup.redis_client import place
from posthorn_storage.lookup.redis_store import RedisLookup
from posthorn_storage.lookup.store import REST_AFTER
from posthorn_testkit.certificates import certificate
from posthorn_testkit.contracts.lookup import LONG, until
from posthorn_testkit.redis_servers import RedisServer, redis_cluster, redis_server, sentinel_set
from posthorn_testkit.strict import missing

pytestmark = pytest.mark.redis
T = TypeVar("T")


class Halting(SystemClock):
    """Its seconds pass but while it stands still at one."""

    stands_at: float | None = None

    def monotonic(self) -> float:
        return super().monotonic() if self.stands_at is None else self.stands_at


@contextmanager
def started(part: Any) -> Iterator[Any]:
    """A server of the test's own, which it may kill."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(part)
        except PartError as error:
            missing(str(error))
        yield server


PATIENCE = 60.0
"""Seconds for what must come in the end, on a machine that may stand still for a while."""
SILENCE = 5.0
"""Seconds after which servers take one of theirs for dead: longer than a machine stands still."""


def patient(*urls: str, **settings: Any) -> RedisSettings:
    """Of a server that answers, sooner or later."""
    return RedisSettings(urls, timeout=PATIENCE, **settings)


@asynccontextmanager
async def opened(
    settings: RedisSettings, *, call_seconds: float = PATIENCE, clock: Clock | None = None
) -> AsyncIterator[Lookup]:
    lookup = Lookup(RedisLookup(settings), clock or SystemClock(), call_seconds=call_seconds)
    try:
        yield lookup
    finally:
        await lookup.close()


async def serves_again(lookup: Lookup, *keys: str) -> None:
    """Wait until the store takes writes; nothing but Unavailable may come until then, and each comes soon."""

    async def counted() -> bool:
        try:
            async with asyncio.timeout(45):
                await asyncio.gather(*(lookup.count(key, LONG) for key in keys))
        except Unavailable:
            return False
        return True

    await until(counted, "service resumes")


async def again(call: Callable[[], Awaitable[T]]) -> T:
    """The answer of a store that serves, asked again when it came too late."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(Unavailable):
                return await call()
            await asyncio.sleep(0.05)


async def known(lookup: Lookup, values: Mapping[str, bytes]) -> bool:
    """Whether the values could be put."""
    try:
        await lookup.put(values, LONG)
    except Unavailable:
        return False
    return True


async def test_a_server_that_was_restarted_is_used_again() -> None:
    clock = Halting()
    with started(redis_server()) as server:
        async with opened(patient(server.url), clock=clock) as lookup:
            assert sorted(await asyncio.gather(*(lookup.count("n", LONG) for _ in range(30)))) == list(range(1, 31))
            server.kill()
            clock.stands_at = clock.monotonic()  # the rest is not over before it was seen
            for _ in range(REST_AFTER):
                with pytest.raises(Unavailable, match="does not answer") as failed:
                    await lookup.count("n", LONG)
                assert not failed.value.fields.get("resting")
            with pytest.raises(Unavailable) as refused:
                await lookup.get(["k"])
            assert refused.value.fields.get("resting")
            clock.stands_at = None
            server.start()
            await serves_again(lookup, "n")
            # It knows neither the counter nor the scripts any more.
            assert await lookup.count("n", LONG) == 2
            assert (await lookup.take([Take("l", 1, LONG)]))[0].allowed


async def test_nobody_waits_long_for_a_server_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        for settings in (
            RedisSettings((url,), timeout=0.2),
            RedisSettings((url,), timeout=2.0),
            RedisSettings((url, url), timeout=0.2, sentinel_master="m"),
            RedisSettings((url, url), timeout=0.2, cluster=True),
        ):
            async with opened(settings, call_seconds=2.0) as lookup:
                async with asyncio.timeout(45):
                    answers = await asyncio.gather(
                        *(lookup.count("n", LONG) for _ in range(100)), return_exceptions=True
                    )
                assert {type(answer) for answer in answers} == {Unavailable}


@pytest.mark.parametrize("way", ["kill", "pause"])
async def test_when_the_master_goes_its_replica_takes_over(way: str) -> None:
    with started(sentinel_set(silence=SILENCE)) as redis:
        settings = RedisSettings(redis.urls, sentinel_master=redis.name, timeout=0.5)
        async with opened(settings, call_seconds=2.0) as lookup:
            await until(lambda: known(lookup, {"k": b"v"}), "the sentinels name the master")
            await serves_again(lookup, *["n"] * 50)
            assert redis.master.say("WAIT", "1", "10000") == "1"
            redis.master.kill() if way == "kill" else redis.master.pause()
            await serves_again(lookup, "n")
            assert redis.master_port() == redis.replica.port
            assert await again(lambda: lookup.get(["k"])) == {"k": b"v"}
            assert await again(lambda: lookup.count("n", LONG)) >= 52
            redis.master.start() if way == "kill" else redis.master.resume()
            # The old master comes back as a replica: nothing is ever counted there, whoever still has a connection.
            seen = await again(lambda: lookup.count("n", LONG))

            async def demoted() -> bool:
                nonlocal seen
                answers = await asyncio.gather(*(lookup.count("n", LONG) for _ in range(20)), return_exceptions=True)
                for answer in answers:
                    assert isinstance(answer, int | Unavailable)
                    assert isinstance(answer, Unavailable) or answer > seen
                seen += sum(isinstance(answer, int) for answer in answers)
                return "role:slave" in redis.master.ask("INFO", "replication")

            await until(demoted, "the old master follows the new one")
            await serves_again(lookup, "n")


async def test_when_a_master_of_a_cluster_dies_its_replica_takes_over() -> None:
    with started(redis_cluster(silence=SILENCE)) as redis:
        async with opened(RedisSettings(redis.urls, cluster=True, timeout=0.5), call_seconds=2.0) as lookup:
            keys = [f"n{number}" for number in range(60)]
            await serves_again(lookup, *keys)
            lost = [key for key in keys if redis.owner_of(redis.slot_of(f"posthorn:c:{key}")) == 0]
            kept = [key for key in keys if key not in lost]
            assert lost
            assert redis.masters[0].say("WAIT", "1", "10000") == "1"
            redis.masters[0].kill()
            await serves_again(lookup, *kept)
            await serves_again(lookup, *lost)
            sums = await again(lambda: lookup.counts(keys))
            # One before, one in each of the attempts after; what was replicated is not forgotten.
            assert min(sums.values()) >= 2
            redis.masters[0].start()
            await until(lambda: joined_again(redis.masters[0]), "the old master follows")
            await serves_again(lookup, *keys)


async def joined_again(server: RedisServer) -> bool:
    return "master_link_status:up" in server.ask("INFO", "replication")


async def test_slots_may_move_while_they_are_used() -> None:
    with started(redis_cluster()) as redis:
        async with opened(patient(*redis.urls[:1], cluster=True, connections=4)) as lookup:
            slot = redis.slot_of("posthorn:c:n")
            source = redis.owner_of(slot)
            target = (source + 1) % 3
            await lookup.count("n", LONG)
            redis.begin_move(slot, source, target)
            assert sorted(await asyncio.gather(*(lookup.count("n", LONG) for _ in range(20)))) == list(range(2, 22))
            await lookup.drop(["n"])
            # Not at the source any more, so it is asked for at the target: ASK, many times at once.
            assert sorted(await asyncio.gather(*(lookup.count("n", LONG) for _ in range(40)))) == list(range(1, 41))
            assert await lookup.counts(["n", "other", "another"]) == {"n": 40}
            redis.finish_move(slot, source, target)
            assert sorted(await asyncio.gather(*(lookup.count("n", LONG) for _ in range(20)))) == list(range(41, 61))
            # And back, for a client that learns of the whole move by being sent on.
            redis.begin_move(slot, target, source)
            redis.finish_move(slot, target, source)
            assert await lookup.count("n", LONG) == 61


async def test_logins_in_urls_and_in_settings() -> None:
    users = ("user", "mail", "on", ">pa@ss", "~*", "+@all")
    with started(redis_server(("requirepass", "se:cret"), users)) as server:
        there = f"127.0.0.1:{server.port}"
        for settings in (
            patient(f"redis://:se%3Acret@{there}"),
            patient(f"redis://mail:pa%40ss@{there}/3"),
            patient(server.url, password="se:cret"),
            patient(server.url, user="mail", password="pa@ss"),
        ):
            async with opened(settings) as lookup:
                assert await lookup.probe() == "Redis server"
        for settings in (patient(server.url), patient(server.url, user="mail", password="wrong-one")):
            async with opened(settings) as lookup:
                with pytest.raises(Unavailable) as refused:
                    await lookup.count("n", LONG)
                assert refused.value.public == "the lookup store refuses its login"
                assert "wrong-one" not in repr(refused.value.fields) + repr(settings)


async def test_a_master_with_a_password_behind_sentinels_without() -> None:
    with started(sentinel_set(master_password="secret")) as redis:
        settings = patient(*redis.urls, sentinel_master=redis.name, password="secret")
        async with opened(settings) as lookup:
            assert await lookup.probe() == "Redis sentinel"
        async with opened(replace(settings, sentinel_master="other")) as lookup:
            with pytest.raises(Unavailable) as refused:
                await lookup.count("n", LONG)
            assert "No master found for 'other'" in refused.value.fields["cause"]


async def test_tls_with_a_trusted_authority_alone(tmp_path: Path) -> None:
    chain, key = certificate()
    (tmp_path / "cert.pem").write_text(chain)
    (tmp_path / "key.pem").write_text(key)
    other, _ = certificate()
    (tmp_path / "other.pem").write_text(other)
    names = (("tls-cert-file", "cert.pem"), ("tls-key-file", "key.pem"), ("tls-ca-cert-file", "cert.pem"))
    files = [(name, str(tmp_path / file)) for name, file in names]
    with started(redis_server(*files, tls=True)) as server:
        good = patient(
            server.url,
            tls_ca=str(tmp_path / "cert.pem"),
            tls_cert=str(tmp_path / "cert.pem"),
            tls_key=str(tmp_path / "key.pem"),
        )
        async with opened(good) as lookup:
            assert await lookup.count("n", LONG) == 1
        for wrong in (replace(good, tls_ca=str(tmp_path / "other.pem")), replace(good, tls_ca=None)):
            async with opened(wrong) as lookup:
                with pytest.raises(Unavailable):
                    await lookup.count("n", LONG)
        async with opened(patient(server.url.replace("rediss", "redis"))) as lookup:
            with pytest.raises(Unavailable):
                await lookup.count("n", LONG)


async def test_a_server_without_memory_is_overloaded_and_asked_again() -> None:
    with started(redis_server(("maxmemory", "3mb"), ("maxmemory-policy", "noeviction"))) as server:
        async with opened(patient(server.url)) as lookup:
            await lookup.put({"k": b"v"}, LONG)
            with pytest.raises(Overloaded, match="full"):
                for number in range(100):
                    await lookup.put({f"k{number}": bytes(MAX_VALUE)}, LONG)
            assert await lookup.get(["k"]) == {"k": b"v"}


@pytest.mark.parametrize(
    "urls", [(), ("",), ("redis:",), ("http://host",), ("redis://host/x",), ("redis://host:port",)], ids=str
)
def test_what_is_no_url_is_refused_at_once(urls: Sequence[str]) -> None:
    with pytest.raises(ValueError):
        RedisLookup(RedisSettings(tuple(urls)))


def test_what_a_url_says() -> None:
    found = place("rediss://user:p%40ss@[::1]:7000/2")
    assert (found.host, found.port, found.tls, found.database) == ("::1", 7000, True, 2)
    assert found.login == {"username": "user", "password": "p@ss"}
    assert "p@ss" not in repr(found)
    assert (place("redis://cache").port, place("redis://cache", 26379).port) == (6379, 26379)
