"""A PostgreSQL with standbys that stream from it: each a real server that a test may stop, kill, freeze and start."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from posthorn_ctl.embedded import leftovers, ports, postgres
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.postgres import PostgresServer
from posthorn_ctl.embedded.privileges import launched
from posthorn_ctl.embedded.run import Running
from posthorn_testkit.databases import with_database
from posthorn_testkit.programs import folder_of_server

UNSAFE = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "wal_retrieve_retry_interval": "100ms",
}
"""For servers of tests in which no machine loses its power."""


class ReplicatedServer:
    """One server of the set."""

    def __init__(self, server: PostgresServer, log: Path) -> None:
        self.server = server
        self._running = Running(server, log)

    @property
    def place(self) -> str:
        """host:port."""
        return f"{ports.LOOPBACK}:{self.server.port}"

    def dsn(self, database: str = postgres.SUPERUSER) -> str:
        """As the superuser."""
        return self.server.dsn(superuser=True, database=database)

    def start(self) -> None:
        """Start it, if it does not run; returns when it answers."""
        if self._running.process is None:
            self._running.start()

    def stop(self) -> None:
        """A fast shutdown."""
        self._running.stop()

    def kill(self) -> None:
        """SIGKILL to all of its processes."""
        self._running.kill()

    def freeze(self) -> None:
        """SIGSTOP to all of its processes; `thaw` lets them go on."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def run(self, program: str, *arguments: str, password: str = "") -> None:
        """Run one of PostgreSQL's programs as the server's user. Raises PartError."""
        command = [str(self.server.binaries / program), *arguments]
        done = subprocess.run(
            launched(command, signal=signal.SIGKILL, identity=self.server.identity),
            capture_output=True,
            text=True,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C", "PGPASSWORD": password},
            check=False,
        )
        if done.returncode != 0:
            raise PartError(f"{program}: {done.stderr.strip()[-300:]}")

    def _signal(self, kind: signal.Signals) -> None:
        for pid in leftovers.working_in(self.server.data):
            with contextlib.suppress(ProcessLookupError):  # it has ended since
                os.kill(pid, kind)


class ReplicationSet:
    """A primary and its standbys; all run when a test begins and must run again when it ends."""

    def __init__(self, primary: ReplicatedServer, standbys: list[ReplicatedServer]) -> None:
        self.primary = primary
        self.standbys = standbys

    @property
    def servers(self) -> list[ReplicatedServer]:
        return [self.primary, *self.standbys]

    def dsn(self, database: str) -> str:
        """A DSN with every host of the set, standbys first."""
        places = ",".join(server.place for server in [*self.standbys, self.primary])
        return with_database(self.primary.dsn().replace(self.primary.place, places), database)


@contextlib.contextmanager
def replication_set(standbys: int = 2) -> Iterator[ReplicationSet]:
    """A running primary with `standbys` of it. Raises PartError."""
    with folder_of_server("replication") as folder:
        prepared = postgres.prepare(folder / "primary")
        settings = {**prepared.settings, **UNSAFE}
        primary = ReplicatedServer(replace(prepared, settings=settings), folder / "primary.log")
        made = ReplicationSet(primary, [])
        try:
            primary.start()
            for number in range(standbys):
                made.standbys.append(_standby(primary, folder, number))
            yield made
        finally:
            for server in reversed(made.servers):
                server.thaw()
                server.kill()


def _standby(primary: ReplicatedServer, folder: Path, number: int) -> ReplicatedServer:
    data = folder / f"standby{number}" / "data"
    data.mkdir(parents=True)
    data.chmod(0o700)
    os.chown(data, primary.server.identity.uid, primary.server.identity.gid)
    password = primary.server.superuser_password
    options = ["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]
    primary.run("pg_basebackup", "--pgdata", str(data), "--dbname", primary.dsn(), *options, password=password)
    server = replace(primary.server, data=data, port=ports.free_ports(1)[0])
    made = ReplicatedServer(server, folder / f"standby{number}.log")
    made.start()
    return made
