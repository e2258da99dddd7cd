"""The embedded PostgreSQL and Kafka as supervised children of `posthorn up`."""

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.cluster.folder import DataFolder
from posthorn_ctl.embedded import kafka, postgres
from posthorn_ctl.embedded.kafka import KafkaServer
from posthorn_ctl.embedded.postgres import PostgresServer
from posthorn_node.supervise import Child, Command, Supervisor

POSTGRES, KAFKA = "postgresql", "kafka"
START_LIMIT = 180.0
"""A machine that has other things to do, or reads everything from a slow disk, takes a minute and more."""
MAX_RESTARTS = 3


async def prepare_postgres(folder: DataFolder, programs: Path | None, port: int | None) -> PostgresServer:
    """Make the database cluster when there is none. Raises PartError."""
    return await asyncio.to_thread(postgres.prepare, folder.part("postgres"), programs=programs, port=port)


async def prepare_kafka(
    folder: DataFolder, cache: Path, fixed: tuple[int, int] | None, progress: Callable[[int, int], None]
) -> KafkaServer:
    """Fetch the jars and make the storage when they are not there. Raises PartError."""
    return await asyncio.to_thread(kafka.prepare, folder.part("kafka"), cache, fixed=fixed, progress=progress)


def postgres_command(server: PostgresServer) -> Command:
    """SIGINT is PostgreSQL's fast shutdown: sessions are ended, nothing committed is lost."""
    return Command(
        POSTGRES,
        tuple(server.command()),
        server.environment(),
        cwd=server.working_folder,
        stop_signal=signal.SIGINT,
        stop_limit=30.0,
        death_signal=signal.SIGINT,
        hopeless=frozenset(),
    )


def kafka_command(server: KafkaServer) -> Command:
    return Command(
        KAFKA,
        tuple(server.command()),
        server.environment(),
        cwd=server.working_folder,
        stop_limit=10.0,
        hopeless=frozenset(),
    )


async def started(supervisor: Supervisor, command: Command, part: PostgresServer | KafkaServer) -> Child:
    """Start a part and return when it answers. Raises ClusterError when it has not in 180 s, or has died four times."""
    await asyncio.to_thread(part.clear)
    child = await supervisor.start(command)
    deadline = time.monotonic() + START_LIMIT
    while not await asyncio.to_thread(part.is_ready):
        if time.monotonic() > deadline or child.restarts > MAX_RESTARTS:
            raise ClusterError(f"{command.name} does not start: its last words stand in logs/{command.name}.log")
        await asyncio.sleep(0.05)
    return child
