"""The session's own PostgreSQL, Kafka and S3 servers: started once, in a folder that goes with the session."""

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from minio import Minio

from posthorn_ctl.embedded import kafka, leftovers, ports, postgres
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.privileges import launched
from posthorn_ctl.embedded.run import Running

S3_PROGRAM = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"


def cache_folder() -> Path:
    """Where jars and built programs are kept between sessions."""
    return Path(os.environ.get("POSTHORN_CACHE") or Path.home() / ".cache" / "posthorn")


@contextmanager
def folder_of_server(name: str) -> Iterator[Path]:
    """A temporary folder that the user a server runs as may pass through."""
    folder = Path(tempfile.mkdtemp(prefix=f"posthorn-test-{name}-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def s3_program(cache: Path) -> Path:
    """The S3 server's program, built on the first call. Raises PartError when it cannot be built."""
    program = cache / "bin" / "versitygw"
    if program.is_file():
        return program
    go = shutil.which("go")
    if go is None:
        raise PartError(f"no S3 server: neither {program} nor Go to build it with")
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent) as private:
        done = subprocess.run(
            [go, "install", S3_PROGRAM],
            env={**os.environ, "GOBIN": private, "GOFLAGS": "-trimpath"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise PartError(f"no S3 server: go install {S3_PROGRAM}: {done.stderr.strip()[-300:]}")
        (Path(private) / "versitygw").replace(program)
    return program


@contextmanager
def s3_server() -> Iterator[S3]:
    """A running S3 server without buckets. Raises PartError."""
    program = s3_program(cache_folder())
    with folder_of_server("s3") as folder:
        for part in ("objects", "metadata"):
            (folder / part).mkdir()
        port = ports.free_ports(1)[0]
        server = S3(f"http://{ports.LOOPBACK}:{port}", "test-" + secrets.token_hex(4), secrets.token_hex(16))
        backend = ["posix", "--sidecar", str(folder / "metadata"), str(folder / "objects")]
        options = ["--quiet", "--keep-alive"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                launched(
                    [str(program), "--port", f"{ports.LOOPBACK}:{port}", *options, *backend], signal=signal.SIGKILL
                ),
                cwd=folder,
                env={
                    "PATH": os.defpath,
                    "ROOT_ACCESS_KEY": server.access_key,
                    "ROOT_SECRET_KEY": server.secret_key,
                    "VGW_REGION": server.region,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            await_port(port, process, folder / "log")
            yield server
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            leftovers.end(folder, first=signal.SIGKILL)


def await_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return when something listens. Raises PartError when the process ends, or does not within half a minute."""
    deadline = time.monotonic() + 30
    while True:
        with suppress(OSError), socket.create_connection((ports.LOOPBACK, port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise PartError(
                f"{process.args!r} did not start: {log.read_text(encoding='utf-8', errors='replace')[-500:]}"
            )
        time.sleep(0.05)
