"""A whole embedded cluster under test, started and stopped by the real command as its own processes."""

import asyncio
import imaplib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from posthorn_ctl.cluster.folder import at
from posthorn_ctl.cluster.running import report

PROGRAM = Path(sys.executable).parent / "posthorn"
START_SECONDS = 180.0


def until(what: str, condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition, asked ten times a second. Raises AssertionError with `what` when it stays false."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)


def posthorn(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the posthorn command and return what it did, whatever its exit code."""
    return subprocess.run(
        [str(PROGRAM), *arguments], input=text, capture_output=True, text=True, timeout=START_SECONDS, check=False
    )


class Reachable(Protocol):
    """What clients need of a cluster: `ClusterUnderTest`, and `posthorn_testkit.instances.Instances`."""

    @property
    def reply_seconds(self) -> float:
        """How long a client waits for a reply."""
        ...

    @property
    def description(self) -> dict[str, Any]:
        """As cluster.json has it."""
        ...

    def address(self, protocol: str, node: int | None = None) -> tuple[str, int]:
        """Host and port of an endpoint, on `node` or on any."""
        ...

    def imap(self, account: tuple[str, str], node: int | None = None) -> imaplib.IMAP4:
        """A logged-in IMAP connection."""
        ...


@dataclass(frozen=True, slots=True)
class ClusterUnderTest:
    """A running cluster; every question reads cluster.json anew."""

    folder: Path
    options: tuple[str, ...]
    reply_seconds: float = 60.0
    """How long a client waits for a reply."""

    @property
    def description(self) -> dict[str, Any]:
        """The content of cluster.json."""
        found: dict[str, Any] = json.loads((self.folder / "cluster.json").read_text())
        return found

    @property
    def accounts(self) -> list[tuple[str, str]]:
        """Names and passwords of the demo accounts."""
        return [(each["name"], each["password"]) for each in self.description["accounts"]]

    def address(self, protocol: str, node: int | None = None) -> tuple[str, int]:
        """Host and port of an endpoint, on `node` or on any."""
        found = self._endpoint(protocol, node)
        return found["host"], found["port"]

    def url(self, protocol: str, node: int | None = None) -> str:
        """The URL of an HTTP endpoint, without a slash at its end."""
        return str(self._endpoint(protocol, node)["url"]).rstrip("/")

    def _endpoint(self, protocol: str, node: int | None) -> dict[str, Any]:
        for each in self.description["endpoints"]:
            if each["protocol"] == protocol and node in (None, each["node"]):
                endpoint: dict[str, Any] = each
                return endpoint
        raise LookupError(f"no endpoint for {protocol} on node {node}")

    def pids(self, service: str, node: int | None = None) -> list[int]:
        """Processes of a service ("postgresql" and "kafka" too)."""
        return [
            each["pid"]
            for each in self.description["processes"]
            if each["service"] == service and node in (None, each["node"])
        ]

    def kill(self, service: str, node: int | None = None) -> None:
        """SIGKILL for the processes of a service."""
        for pid in self.pids(service, node):
            os.kill(pid, signal.SIGKILL)

    def is_ready(self) -> bool:
        """Whether everything is ready, by what `posthorn status` goes by: asked often, so without starting it."""
        return asyncio.run(report(at(self.folder))).state == "ready"

    def up(self) -> None:
        """Start it (again) on its folder. Raises AssertionError with the output when it does not become ready."""
        done = posthorn("up", "--detach", "--data", str(self.folder), *self.options)
        assert done.returncode == 0, f"posthorn up ended with {done.returncode}:\n{(done.stdout + done.stderr)[-6000:]}"

    def stop(self) -> None:
        """Stop it."""
        done = posthorn("stop", "--data", str(self.folder))
        assert done.returncode == 0, done.stderr

    def imap(self, account: tuple[str, str], node: int | None = None) -> imaplib.IMAP4:
        """A logged-in IMAP connection."""
        client = imaplib.IMAP4(*self.address("imap", node), timeout=60)
        client.login(*account)
        return client


@contextmanager
def running_cluster(folder: Path, *options: str) -> Iterator[ClusterUnderTest]:
    """A cluster under `folder`, running while the block runs."""
    cluster = ClusterUnderTest(folder, options)
    cluster.up()
    try:
        yield cluster
    finally:
        cluster.stop()
