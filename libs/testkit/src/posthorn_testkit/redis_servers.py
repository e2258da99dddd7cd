"""Real Redis servers of Debian's packages: one alone, a master with a replica and three sentinels, a cluster.

Each lives in a temporary folder, on free ports of the loopback address, and ends with the test that started it.
"""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from posthorn_ctl.embedded import leftovers, ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.privileges import launched
from posthorn_testkit.servers import folder_of_server

PATIENCE = 30.0
Setting = tuple[str, ...]


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise PartError(f"no Redis: {name} is not installed (Debian: apt-get install redis-server redis-sentinel)")
    return found


def until(holds: Callable[[], bool], what: str) -> None:
    """Look again and again. Raises PartError when it does not hold within PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(OSError):
            if holds():
                return
        if time.monotonic() > deadline:
            raise PartError(f"{what}: not within {PATIENCE:g} s")
        time.sleep(0.02)


@dataclass(slots=True)
class RedisServer:
    """One server process, which a test may stop, kill, pause and start again on the same port and data."""

    folder: Path
    port: int
    settings: Sequence[Setting] = ()
    program: str = "redis-server"
    tls: bool = False
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"{'rediss' if self.tls else 'redis'}://{ports.LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start it and return when it listens. Raises PartError."""
        configuration = self.folder / "redis.conf"
        if not configuration.exists():  # a sentinel rewrites its own
            listening = (("port", "0"), ("tls-port", str(self.port))) if self.tls else (("port", str(self.port)),)
            common = (("bind", ports.LOOPBACK), ("dir", str(self.folder)), ("daemonize", "no"))
            lines = [" ".join(words) for words in (*listening, *common, *self.settings)]
            configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [_program(self.program), str(configuration)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                launched(command, signal=signal.SIGKILL),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until(self._listens, f"the Redis server of {self.folder}")

    def say(self, *words: str) -> str:
        """Send one command and return what the server printed. Raises PartError when it refuses."""
        options = ["--tls", "--insecure"] if self.tls else []
        command = [_program("redis-cli"), "-h", ports.LOOPBACK, "-p", str(self.port), *options, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
        if done.returncode or done.stdout.startswith(("ERR", "(error)")):
            raise PartError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: it answers nobody, and its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, kind: signal.Signals) -> None:
        for pid in leftovers.working_in(self.folder):
            subprocess.run(["kill", f"-{kind.name[3:]}", str(pid)], check=True)

    def _end(self, kind: signal.Signals) -> None:
        if self.process is None:
            return
        leftovers.end(self.folder, first=kind)
        self.process.wait()
        self.process = None

    def _listens(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            tail = (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-500:]
            raise PartError(f"the Redis server did not start: {tail}")
        with socket.create_connection((ports.LOOPBACK, self.port), 1):
            return True


@contextmanager
def _serving(port: int, *settings: Setting, program: str = "redis-server", tls: bool = False) -> Iterator[RedisServer]:
    with folder_of_server("redis") as folder:
        server = RedisServer(folder, port, settings, program, tls)
        try:
            server.start()
            yield server
        finally:
            server.kill()


QUIET: tuple[Setting, ...] = (("save", '""'), ("appendonly", "no"), ("loglevel", "notice"))


@contextmanager
def redis_server(*settings: Setting, tls: bool = False) -> Iterator[RedisServer]:
    """One server without data. Raises PartError."""
    with _serving(ports.free_ports(1)[0], *QUIET, *settings, tls=tls) as server:
        yield server
