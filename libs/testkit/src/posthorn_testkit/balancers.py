"""The real HAProxy and nginx of Debian's packages, each with a configuration of the test's own."""

import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.privileges import launched
from posthorn_testkit.programs import await_port, folder_of_server

PACKAGES = {"haproxy": "haproxy", "nginx": "nginx-light libnginx-mod-stream"}


@contextmanager
def balancer(kind: str, configuration: Path, ports: Sequence[int]) -> Iterator[None]:
    """Run "haproxy" or "nginx" while the block runs, listening on these ports when it begins. Raises PartError."""
    program = shutil.which(kind, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        raise PartError(f"no {kind} (Debian: apt-get install {PACKAGES[kind]})")
    with folder_of_server(kind) as folder:
        arguments = {
            "haproxy": ["-db", "-f", str(configuration)],
            "nginx": ["-c", str(configuration), "-g", f"daemon off; pid {folder / 'pid'};"],
        }
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                launched([program, *arguments[kind]], signal=signal.SIGTERM),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            for port in ports:
                await_port(port, process, folder / "log")
            yield
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
