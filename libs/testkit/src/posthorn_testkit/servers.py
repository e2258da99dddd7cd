"""The session's own PostgreSQL, Kafka and S3 servers: started once, in a folder that goes with the session."""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from minio import Minio

from posthorn_ctl.embedded import kafka, leftovers, ports, postgres
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.run import Running
from posthorn_testkit.go_programs import go_program
from posthorn_testkit.programs import cache_folder, folder_of_server, listening

S3_PROGRAM = ("github.com/versity/versitygw/cmd/versitygw", "v1.8.0")


@contextmanager
def postgres_server(**settings: str) -> Iterator[str]:
    """The superuser's DSN of a running PostgreSQL with an empty cluster. Raises PartError.

    `settings` are added to those of the embedded server.
    """
    with folder_of_server("postgres") as folder:
        server = postgres.prepare(folder)
        server = replace(server, settings={**server.settings, **settings})
        running = Running(server, folder / "log")
        running.start()
        try:
            yield server.dsn(superuser=True)
        finally:
            running.stop()


class KafkaBroker:
    """A real broker that a test may stop, kill and start; it must run again when the test ends."""

    def __init__(self, server: kafka.KafkaServer, log: Path) -> None:
        self._running = Running(server, log)
        self.servers = server.servers

    def run(self) -> None:
        self._running.start()

    def spawn(self) -> None:
        """Start it and return at once."""
        self._running.spawn()

    def close(self) -> None:
        self._running.stop()

    async def start(self) -> None:
        """Start it on the same data and port, if it does not run; returns when it answers."""
        if self._running.process is not None:
            return
        await asyncio.to_thread(self._running.part.clear)
        # Not in a worker thread: the broker ends with the thread that starts it.
        self._running.spawn()
        deadline = time.monotonic() + 60
        while not await asyncio.to_thread(self._running.is_ready):
            if time.monotonic() > deadline:
                raise PartError("the broker did not come back within 60 s")
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """An orderly end: clients are told."""
        await asyncio.to_thread(self._running.stop)

    async def kill(self) -> None:
        """SIGKILL."""
        await asyncio.to_thread(self._running.kill)

    async def forget(self) -> None:
        """Of a broker that does not run, remove all that it stored."""
        assert isinstance(self._running.part, kafka.KafkaServer)
        await asyncio.to_thread(self._running.part.format)

    def pause(self) -> None:
        """SIGSTOP: it answers nobody, and its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, kind: signal.Signals) -> None:
        for pid in leftovers.working_in(self._running.part.working_folder):
            os.kill(pid, kind)


@contextmanager
def running_broker() -> Iterator[KafkaBroker]:
    """A running broker without topics. Raises PartError."""
    with folder_of_server("kafka") as folder:
        broker = KafkaBroker(kafka.prepare(folder, cache_folder()), folder / "log")
        broker.run()
        try:
            yield broker
        finally:
            broker.close()


@dataclass(frozen=True, slots=True)
class S3:
    """A real S3 server: `endpoint` is an http URL without a path."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"

    def client(self) -> Minio:
        host = self.endpoint.removeprefix("http://")
        return Minio(host, access_key=self.access_key, secret_key=self.secret_key, secure=False, region=self.region)

    def new_bucket(self) -> str:
        """Make an empty bucket and return its name."""
        name = f"test-{secrets.token_hex(6)}"
        self.client().make_bucket(name)
        return name


@contextmanager
def s3_server() -> Iterator[S3]:
    """A running S3 server without buckets. Raises PartError."""
    program = go_program(*S3_PROGRAM)
    with folder_of_server("s3") as folder:
        for part in ("objects", "metadata"):
            (folder / part).mkdir()
        port = ports.free_ports(1)[0]
        server = S3(f"http://{ports.LOOPBACK}:{port}", "test-" + secrets.token_hex(4), secrets.token_hex(16))
        backend = ["posix", "--sidecar", str(folder / "metadata"), str(folder / "objects")]
        words = [str(program), "--port", f"{ports.LOOPBACK}:{port}", "--quiet", "--keep-alive", *backend]
        environ = {
            "ROOT_ACCESS_KEY": server.access_key,
            "ROOT_SECRET_KEY": server.secret_key,
            "VGW_REGION": server.region,
        }
        with listening(words, port, folder, environ=environ):
            yield server
