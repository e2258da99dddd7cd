"""Real NATS servers of Debian's package: one alone, or several of one cluster.

Each lives in a temporary folder, on free ports of the loopback address, and ends with the test that started it.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from posthorn_ctl.embedded import leftovers, ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.privileges import launched
from posthorn_testkit.programs import await_port, folder_of_server


def _program() -> str:
    found = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise PartError("no NATS: nats-server is not installed (Debian: apt-get install nats-server)")
    return found


@dataclass(slots=True)
class NatsServer:
    """One server process, which a test may kill, pause and start again on the same port."""

    folder: Path
    port: int
    settings: str = ""
    """Lines of its configuration beside the address."""
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"{ports.LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start it, if it does not run, and return when it listens. Raises PartError."""
        if self.process is not None:
            return
        configuration = self.folder / "nats.conf"
        listen = f"listen: {self.address}\nserver_name: posthorn-{self.port}\n"
        configuration.write_text(listen + self.settings, encoding="utf-8")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                launched([_program(), "--config", str(configuration)], signal=signal.SIGKILL),
                cwd=self.folder,
                env={"PATH": os.defpath},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        await_port(self.port, self.process, self.folder / "log")

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        if self.process is not None:
            leftovers.end(self.folder, first=signal.SIGKILL)
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """SIGSTOP: it answers nobody, and its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, kind: signal.Signals) -> None:
        for pid in leftovers.working_in(self.folder):
            os.kill(pid, kind)


@contextmanager
def nats_server(settings: str = "") -> Iterator[NatsServer]:
    """One running server. Raises PartError."""
    with folder_of_server("nats") as folder:
        server = NatsServer(folder, ports.free_ports(1)[0], settings)
        try:
            server.start()
            yield server
        finally:
            server.resume()
            server.kill()


@contextmanager
def nats_cluster(size: int = 2) -> Iterator[tuple[NatsServer, ...]]:
    """Several servers that pass each other's messages on. Raises PartError."""
    routes = ports.free_ports(size)
    named = ", ".join(f'"nats://{ports.LOOPBACK}:{port}"' for port in routes)
    with ExitStack() as stack:
        yield tuple(
            stack.enter_context(
                nats_server(f'cluster {{ name: "test", listen: "{ports.LOOPBACK}:{port}", routes: [{named}] }}\n')
            )
            for port in routes
        )
