"""Tests of this package run on uvloop, as every process does. A worker is one process's share of smtp-out."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog
import uvloop

from posthorn_bus import LeaseKeeper, LeaseTimes
from posthorn_delivery import make_scripts
from posthorn_model.clock import SystemClock
from posthorn_node.metrics import Metrics
from posthorn_node.settings import ResolverSettings
from posthorn_smtp_out.brakes import Brakes
from posthorn_smtp_out.figures import Figures
from posthorn_smtp_out.outcomes import Policy
from posthorn_smtp_out.parts import Parts
from posthorn_smtp_out.pool import Pool
from posthorn_smtp_out.remote import Manners, client_context
from posthorn_smtp_out.remoting import limits, sources
from posthorn_smtp_out.resolver import Resolver
from posthorn_smtp_out.routes import Router
from posthorn_smtp_out.settings import SmtpOutSettings
from posthorn_smtp_out.shard import Shards
from posthorn_smtp_out.sharing import Sharing
from posthorn_smtp_out.signing import Signer
from posthorn_smtp_out.spreading import Spreads
from posthorn_smtp_out.suppression import Suppressing
from posthorn_smtp_out.warming import Warming
from posthorn_storage import Storage
from posthorn_storage.queue import Attempts
from posthorn_testkit.node_settings import local
from posthorn_testkit.process import ServiceProcess, running_service
from posthorn_testkit.sink import Sink

LOG = structlog.wrap_logger(structlog.WriteLogger(io.StringIO()))

Run = Callable[[], AbstractAsyncContextManager[ServiceProcess]]

SETTINGS = local("""
[cluster]
name = "test"
[server]
hostname = "out.example.org"
data = "{folder}"
[smtp-out]
relay = "{relay}"
poll = "100ms"
retry = ["200ms"]
expire = "30m"
""")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


class Worker:
    """One process's share of smtp-out: leases on all shards and their workers."""

    def __init__(self, storage: Storage, owner: str, router: Router, **settings: Any) -> None:
        own = SmtpOutSettings(**{"poll": 0.02, "connections_per_site": 5, **settings})
        tls: Any = "required" if own.tls in ("required", "encrypt") else own.tls
        manners = Manners("out.example.org", tls, own.timeouts, client_context(verify=False))
        self.storage = storage
        self.router = router
        self.sources = sources(own, "out.example.org")
        self.metrics = Metrics()
        self.figures = Figures(self.metrics)

        def new_pool(*, shared: bool = False) -> Pool:
            return Pool(router, lambda _: manners, limits(own), schedule=own.retry, shared=shared)

        self.pool = new_pool(shared=True)
        self.sharing = Sharing(storage.queue.shares, self.pool, owner, 30.0, figures=self.figures, log=LOG)
        self.spreads = Spreads(storage.queue, self.figures, LOG)
        self.spreads.tell = lambda shard: self.shards.wake(shard)
        router.spread = lambda site: self.spreads.of(site) > 1
        self.brakes = Brakes(storage.queue.pauses, router.destination, LOG)
        self.keeper = LeaseKeeper(storage.leases, owner, SystemClock(), LeaseTimes(ttl=30.0))
        self.shards = Shards(
            Parts(
                settings=own,
                hostname="out.example.org",
                storage=storage,
                attempts=Attempts(storage.queue, own.write_window),
                router=router,
                sources=self.sources,
                pool=self.pool,
                new_pool=new_pool,
                signer=Signer(storage.dkim, SystemClock().monotonic, LOG, self.figures),
                policy=Policy(own.retry, own.expire, own.delay_notices),
                spreads=self.spreads,
                brakes=self.brakes,
                warming=Warming(storage.queue.warm_up, own.sources, SystemClock().time, self.figures),
                suppressing=Suppressing(storage.queue.suppressions, own.suppression, self.figures, LOG),
                clock=SystemClock(),
                scripts=make_scripts(storage, "out.example.org", SystemClock(), LOG, seal=True),
                log=LOG,
                figures=self.figures,
            )
        )
        self.runs: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.brakes.read()
        await self.keeper.start()
        leases = await self.keeper.acquire([f"queue/{number}" for number in range(self.storage.queue.shards)])
        assert len(leases) == self.storage.queue.shards
        self.runs = [asyncio.create_task(self.shards.run(lease.key, lease)) for lease in leases]
        self.keeping = [
            asyncio.create_task(each)
            for each in (self.brakes.keep(self.shards.wake), self.sharing.keep(), self.spreads.keep(self.pool.dismiss))
        ]

    async def leave(self) -> None:
        """As on SIGTERM: finish, hand over."""
        await self.shards.drain()
        await self._rest()
        await self.keeper.stop()
        await self.pool.close()
        await self.sharing.close()

    async def die(self) -> None:
        """As by kill -9, but that the lease rows are free for the next owner at once."""
        for run in self.runs:
            run.cancel()
        await asyncio.gather(*self.runs, return_exceptions=True)
        await self._rest()
        await self.keeper.stop()
        await self.sharing.close()

    async def _rest(self) -> None:
        for task in self.keeping:
            task.cancel()
        await asyncio.gather(*self.keeping, return_exceptions=True)


Start = Callable[..., Awaitable[Worker]]


@pytest_asyncio.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink() as started:
        yield started


@pytest_asyncio.fixture
async def start(storage: Storage, sink: Sink) -> AsyncIterator[Start]:
    """`await start(relay=None, **settings)`: a worker that sends everything to the sink, unless told otherwise."""
    running: list[Worker] = []

    async def begin(router: Router | None = None, owner: str = "first", **settings: Any) -> Worker:
        resolver = Resolver(ResolverSettings(servers=("127.0.0.1:9",)))
        relayed = Router(resolver, hostname="out.example.org", port=25, relay=sink.address, routes={})
        worker = Worker(storage, owner, router or relayed, **settings)
        running.append(worker)
        await worker.start()
        return worker

    yield begin
    for worker in running:
        await worker.die()


@pytest.fixture
def run(postgres_dsn: str, storage: Storage, sink: Sink, tmp_path: Path) -> Run:
    """`async with run() as process` runs one on the test's database, with the sink as its relay."""
    path = tmp_path / "node.toml"
    path.write_text(SETTINGS.format(folder=tmp_path, dsn=postgres_dsn, relay=sink.address))
    return lambda: running_service("posthorn_smtp_out", path)
