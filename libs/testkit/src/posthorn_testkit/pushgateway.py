"""The real Prometheus Pushgateway for tests: built once, kept in the cache, started on a free port."""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from posthorn_ctl.embedded import leftovers, ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.privileges import launched
from posthorn_testkit.servers import await_port, cache_folder, folder_of_server

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


def pushgateway_program(cache: Path) -> Path:
    """The program, built on the first call. Raises PartError when it cannot be built."""
    program = cache / "bin" / f"pushgateway-{VERSION}"
    if program.is_file():
        return program
    go = shutil.which("go")
    if go is None:
        raise PartError(f"no Pushgateway: neither {program} nor Go to build it with")
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent) as private:
        # In a module of its own, which names the version alone: `go install` would ask for a list of all.
        (Path(private) / "go.mod").write_text(f"module tests\n\ngo 1.24\n\nrequire {PROGRAM} {VERSION}\n")
        done = subprocess.run(
            [go, "build", "-mod=mod", "-trimpath", "-o", "made", PROGRAM],
            cwd=private,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise PartError(f"no Pushgateway: go build {PROGRAM}@{VERSION}: {done.stderr.strip()[-300:]}")
        (Path(private) / "made").replace(program)
    return program


@contextmanager
def pushgateway_server(*options: str) -> Iterator[Pushgateway]:
    """A running one without figures; `options` are its own. Raises PartError."""
    program = pushgateway_program(cache_folder())
    with folder_of_server("pushgateway") as folder:
        port = ports.free_ports(1)[0]
        command = [str(program), f"--web.listen-address={ports.LOOPBACK}:{port}", *options]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                launched(command, signal=signal.SIGKILL),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            await_port(port, process, folder / "log")
            yield Pushgateway(f"http://{ports.LOOPBACK}:{port}")
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            leftovers.end(folder, first=signal.SIGKILL)
