"""Prometheus, promtool and the node exporter, as Debian has them: packages prometheus and prometheus-node-exporter."""

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posthorn_ctl.embedded import ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_testkit.cluster import until
from posthorn_testkit.programs import listening


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server: `url` has no slash at its end."""

    url: str

    def is_ready(self) -> bool:
        """Whether it answers questions."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=10):
                return True
        except OSError:
            return False

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer of its API, such as `ask("query", query="up")`."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]


def promtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run promtool. Raises PartError when it is not there."""
    return subprocess.run([_program("promtool"), *arguments], capture_output=True, text=True, check=False)


@contextmanager
def running_prometheus(config: Path) -> Iterator[Prometheus]:
    """A server with this configuration, with its data beside it. Raises PartError."""
    port = ports.free_ports(1)[0]
    options = [f"--config.file={config}", f"--storage.tsdb.path={config.parent / 'data'}"]
    words = [_program("prometheus"), *options, f"--web.listen-address={ports.LOOPBACK}:{port}"]
    with listening(words, port, config.parent):
        server = Prometheus(f"http://{ports.LOOPBACK}:{port}")
        until("Prometheus is ready", server.is_ready)
        yield server


@contextmanager
def running_node_exporter(folder: Path) -> Iterator[str]:
    """The URL of the metrics of this machine. Raises PartError."""
    port = ports.free_ports(1)[0]
    words = [_program("prometheus-node-exporter"), f"--web.listen-address={ports.LOOPBACK}:{port}"]
    with listening(words, port, folder, log="node-exporter.log"):
        yield f"http://{ports.LOOPBACK}:{port}/metrics"


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise PartError(f"{name} is not installed (Debian's packages prometheus and prometheus-node-exporter)")
    return found
