"""The pytest plugin: the real parts as fixtures. Loaded by conftest.py at the root of the workspace.

What a fixture needs is imported inside it, so that the tests of a codec load neither database nor broker code.

POSTHORN_TEST_POSTGRES (a superuser's DSN) and POSTHORN_TEST_KAFKA (host:port) name servers that run already;
POSTHORN_TEST_POSTGRES_PROGRAMS is a folder of another PostgreSQL's programs to start instead of the embedded ones,
POSTHORN_TEST_POOLER=pgbouncer puts PgBouncer before it. A part that cannot be had skips the test with its reason, and
fails it when POSTHORN_TEST_STRICT is set.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from posthorn_testkit.strict import missing

if TYPE_CHECKING:
    from posthorn_storage import Storage, StorageSettings
    from posthorn_storage.directory import AccountRecord
    from posthorn_testkit.acme_servers import Authority, NameServer
    from posthorn_testkit.azure_server import Azure
    from posthorn_testkit.content_filters import Clamd
    from posthorn_testkit.databases import Databases
    from posthorn_testkit.failover import PatroniSet
    from posthorn_testkit.milters import OwnMilter
    from posthorn_testkit.nats_servers import NatsServer
    from posthorn_testkit.pushgateway import Pushgateway
    from posthorn_testkit.redis_servers import RedisCluster, RedisServer, SentinelSet
    from posthorn_testkit.replication import ReplicationSet
    from posthorn_testkit.servers import S3, KafkaBroker

_Part = TypeVar("_Part")


def _started(stack: ExitStack, part: AbstractContextManager[_Part]) -> _Part:
    """Enter a part's context; without the part the test is skipped, or fails where that is asked for."""
    from posthorn_ctl.embedded.errors import PartError

    try:
        return stack.enter_context(part)
    except PartError as error:
        missing(str(error))


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Fresh databases on the session's real PostgreSQL."""
    from posthorn_storage.migrate import migrate
    from posthorn_testkit.databases import Databases
    from posthorn_testkit.other_postgres import other_postgres_server
    from posthorn_testkit.servers import postgres_server

    with ExitStack() as stack:
        dsn = os.environ.get("POSTHORN_TEST_POSTGRES", "")
        programs = os.environ.get("POSTHORN_TEST_POSTGRES_PROGRAMS")
        if not dsn:
            dsn = _started(stack, other_postgres_server(Path(programs)) if programs else postgres_server())
        made = Databases(dsn, migrate)
        stack.callback(made.close)
        yield made


@pytest.fixture
def postgres_dsn(databases: Databases) -> Iterator[str]:
    """The DSN of a migrated, empty database of this test alone."""
    with databases.fresh() as dsn:
        yield dsn


@pytest.fixture
def bare_postgres_dsn(databases: Databases) -> Iterator[str]:
    """The DSN of a database without a schema, of this test alone."""
    with databases.bare() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def pooler(databases: Databases) -> Iterator[str]:
    """The DSN of a PgBouncer before the session's PostgreSQL; put the name of a database into it."""
    from posthorn_testkit.poolers import pgbouncer

    with ExitStack() as stack:
        yield _started(stack, pgbouncer(databases.dsn))


@pytest.fixture
def storage_settings(
    request: pytest.FixtureRequest, databases: Databases, postgres_dsn: str, tmp_path: Path
) -> Iterator[StorageSettings]:
    """What `storage` is opened with: a fresh database and a file-system blob store.

    With POSTHORN_TEST_SHARDS every account lives on a second database: what works for one must work for the other.
    """
    from posthorn_storage import FsSettings, PlacementRules, ShardRule, ShardSettings, StorageSettings
    from posthorn_storage.settings import PoolSettings
    from posthorn_testkit.databases import with_database

    # A busy machine refuses nobody.
    usual = StorageSettings(dsn=postgres_dsn, blobs=FsSettings(tmp_path / "blobs"), acquire_timeout=60.0)
    if os.environ.get("POSTHORN_TEST_POOLER") == "pgbouncer":
        dsn = with_database(request.getfixturevalue("pooler"), urlsplit(postgres_dsn).path[1:])
        yield replace(usual, dsn=dsn, pools=PoolSettings(mode="transaction"))
    elif os.environ.get("POSTHORN_TEST_SHARDS"):
        with databases.fresh() as other:
            placement = PlacementRules((ShardRule("other", weight=1),))
            yield replace(usual, shards=(ShardSettings("other", other),), placement=placement)
    else:
        yield usual


@pytest_asyncio.fixture
async def storage(storage_settings: StorageSettings) -> AsyncIterator[Storage]:
    """An open Storage with a file-system blob store."""
    from posthorn_storage import Storage
    from posthorn_storage.shards.registry import register

    await register(storage_settings)
    opened = await Storage.open(storage_settings)
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
def account(storage: Storage) -> Callable[..., Awaitable[AccountRecord]]:
    """`await account(address, password=None, **more)`: an account with default mailboxes; its domain is made too."""

    async def add(address: str = "ann@example.org", password: str | None = None, **more: Any) -> AccountRecord:
        domain = address.rpartition("@")[2].lower()
        if domain not in await storage.directory.domains():
            await storage.directory.add_domain(domain)
        return await storage.directory.add_account(address, password, **more)

    return add


@pytest.fixture(scope="session")
def replication() -> Iterator[ReplicationSet]:
    """A PostgreSQL with two standbys, all of which must run again when a test ends."""
    from posthorn_testkit.replication import replication_set

    with ExitStack() as stack:
        yield _started(stack, replication_set())


@pytest.fixture
def lock_out(storage: Storage) -> Callable[[str], Awaitable[None]]:
    """`await lock_out(address)`: as many logins to an account have failed as are judged at all."""
    from posthorn_model.lookup import Take, lookup_key
    from posthorn_storage import LoginLimits

    async def exhaust(address: str) -> None:
        rate = LoginLimits().per_account
        assert rate is not None
        await storage.lookup.take([Take(lookup_key("login", "account", address), rate.limit, rate.period, rate.limit)])

    return exhaust


@pytest.fixture
def patroni() -> Iterator[PatroniSet]:
    """Two PostgreSQL under Patroni, one the synchronous standby of the other, of this test alone."""
    from posthorn_testkit.failover import patroni_pair

    with ExitStack() as stack:
        yield _started(stack, patroni_pair())


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[KafkaBroker]:
    """A broker of this session's own, which tests may stop and must start again."""
    from posthorn_testkit.servers import running_broker

    with ExitStack() as stack:
        yield _started(stack, running_broker())


@pytest.fixture(scope="session")
def kafka_servers(request: pytest.FixtureRequest) -> str:
    """host:port of a real broker; topics of other tests may be there, so use a prefix of your own."""
    given = os.environ.get("POSTHORN_TEST_KAFKA")
    if given:
        return given
    broker: KafkaBroker = request.getfixturevalue("kafka_broker")
    return broker.servers


@pytest.fixture
def pushgateway() -> Iterator[Pushgateway]:
    """A real Prometheus Pushgateway of this test alone."""
    from posthorn_testkit.pushgateway import pushgateway_server

    with ExitStack() as stack:
        yield _started(stack, pushgateway_server())


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """A real S3 server; `s3.new_bucket()` makes a bucket of the test's own."""
    from posthorn_testkit.servers import s3_server

    with ExitStack() as stack:
        yield _started(stack, s3_server())


@pytest.fixture(scope="session")
def azure() -> Iterator[Azure]:
    """A real Azure Blob Storage emulator; `azure.new_container()` makes a container of the test's own."""
    from posthorn_testkit.azure_server import azure_server

    with ExitStack() as stack:
        yield _started(stack, azure_server())


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    """A NATS server of this session's own, which tests may stop and must start again; use a prefix of your own."""
    from posthorn_testkit.nats_servers import nats_server

    with ExitStack() as stack:
        yield _started(stack, nats_server())


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis of this session's own; keys of other tests may be there, so use a prefix of your own."""
    from posthorn_testkit.redis_servers import redis_server

    with ExitStack() as stack:
        yield _started(stack, redis_server())


@pytest.fixture(scope="session")
def redis_sentinels() -> Iterator[SentinelSet]:
    """A master, a replica and sentinels of this session's own; a test that kills one of them starts its own set."""
    from posthorn_testkit.redis_servers import sentinel_set

    with ExitStack() as stack:
        yield _started(stack, sentinel_set())


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    """A cluster of this session's own; a test that kills one of it starts its own."""
    from posthorn_testkit.redis_servers import redis_cluster

    with ExitStack() as stack:
        yield _started(stack, redis_cluster())


@pytest.fixture(scope="session")
def name_server() -> Iterator[NameServer]:
    """A real name server that takes dynamic updates; use names of your own in its zone."""
    from posthorn_testkit.acme_servers import name_server

    with ExitStack() as stack:
        yield _started(stack, name_server())


@pytest.fixture(scope="session")
def acme_authority(name_server: NameServer) -> Iterator[Authority]:
    """A real ACME server; a test that stops it starts its own."""
    from posthorn_testkit.acme_servers import authority

    with ExitStack() as stack:
        yield _started(stack, authority(name_server))


@pytest.fixture(scope="session")
def clamd() -> Iterator[Clamd]:
    """A real clamd that knows EICAR alone."""
    from posthorn_testkit.content_filters import clamd_server

    with ExitStack() as stack:
        yield _started(stack, clamd_server())


@pytest.fixture(scope="session")
def spamd() -> Iterator[str]:
    """host:port of a real spamd that asks nobody in the network."""
    from posthorn_testkit.content_filters import spamd_server

    with ExitStack() as stack:
        yield _started(stack, spamd_server())


@pytest.fixture(scope="session")
def rspamd() -> Iterator[str]:
    """host:port of a real rspamd that asks nobody in the network."""
    from posthorn_testkit.content_filters import rspamd_server

    with ExitStack() as stack:
        yield _started(stack, rspamd_server())


@pytest.fixture(scope="session")
def milter() -> Iterator[OwnMilter]:
    """A real milter, on libmilter, that does what messages ask it to."""
    from posthorn_testkit.milters import own_milter

    with ExitStack() as stack:
        yield _started(stack, own_milter())


@pytest.fixture(scope="session")
def opendkim() -> Iterator[str]:
    """host:port of a real opendkim that signs for example.org."""
    from posthorn_testkit.milters import opendkim_server

    with ExitStack() as stack:
        yield _started(stack, opendkim_server("example.org")).address


@pytest.fixture(scope="session")
def opendmarc() -> Iterator[str]:
    """host:port of a real opendmarc."""
    from posthorn_testkit.milters import opendmarc_server

    with ExitStack() as stack:
        yield _started(stack, opendmarc_server())
