"""The real Prometheus Pushgateway for tests: built once, kept in the cache, started on a free port."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.request import urlopen

from posthorn_ctl.embedded import ports
from posthorn_testkit.go_programs import go_program
from posthorn_testkit.programs import folder_of_server, listening

PROGRAM = "github.com/prometheus/pushgateway"
VERSION = "v1.11.1"


@dataclass(frozen=True, slots=True)
class Pushgateway:
    """A running one; `url` has no path."""

    url: str

    def metrics(self) -> str:
        """What it shows to Prometheus."""
        with urlopen(f"{self.url}/metrics", timeout=10) as answer:
            return str(answer.read().decode())


@contextmanager
def pushgateway_server(*options: str) -> Iterator[Pushgateway]:
    """A running one without figures; `options` are its own. Raises PartError."""
    program = go_program(PROGRAM, VERSION, alone=True)
    with folder_of_server("pushgateway") as folder:
        port = ports.free_ports(1)[0]
        command = [str(program), f"--web.listen-address={ports.LOOPBACK}:{port}", *options]
        with listening(command, port, folder):
            yield Pushgateway(f"http://{ports.LOOPBACK}:{port}")
