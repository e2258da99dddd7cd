"""`posthorn up` on real parts: its contract, what it restarts, how it ends, and what it refuses.

Only the maintenance service runs here: what is under test is the cluster around the services.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from posthorn_ctl.embedded import leftovers, ports
from posthorn_testkit.programs import folder_of_server
from posthorn_testkit.servers import S3

pytestmark = [pytest.mark.cluster, pytest.mark.postgres, pytest.mark.kafka, pytest.mark.timeout(400)]
LIMIT = 240.0


def wait_until(condition: Callable[[], bool], what: str, limit: float = LIMIT) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit:.0f} s: {what}"
        time.sleep(0.1)


class Up:
    """The posthorn program on one data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.process: subprocess.Popen[str] | None = None

    def run(self, *words: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        argv = [sys.executable, "-m", "posthorn_ctl", *words, "--data", str(self.data)]
        env = {**os.environ, **(environ or {})}
        return subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=env, check=False)

    def start(self, *words: str, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
        """`posthorn up` in the background; returns cluster.json as it prints it when all is ready."""
        argv = [sys.executable, "-m", "posthorn_ctl", "up", "--json", "--services", "maintenance", *words]
        with (self.data.parent / "stderr").open("a") as log:
            self.process = subprocess.Popen(
                [*argv, "--data", str(self.data)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **(environ or {})},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.said()[-3000:]
        return dict(json.loads(line))

    def said(self) -> str:
        return (self.data.parent / "stderr").read_text()

    def suggested(self, words: str) -> str:
        """Run the command with these words that it suggests to its reader, as it stands; returns its output."""
        commands = self.said().partition("Try:\n")[2].splitlines()
        command = next(line for line in commands if words in line)
        return subprocess.run(command, shell=True, stdout=subprocess.PIPE, text=True, check=True).stdout

    def content(self) -> dict[str, Any]:
        return dict(json.loads((self.data / "cluster.json").read_text()))

    def pids(self) -> dict[str, int]:
        return {each["service"]: each["pid"] for each in self.content()["processes"]}

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(LIMIT)

    def well(self) -> dict[str, Any]:
        """What `posthorn status` says once it says that all is ready."""
        said: list[str] = []

        def is_well() -> bool:
            status = self.run("status", "--json")
            said.append(status.stdout)
            return status.returncode == 0

        wait_until(is_well, "all is ready")
        return dict(json.loads(said[-1]))

    def left(self) -> list[int]:
        """Processes that name the data folder in their arguments or work in it."""
        found = leftovers.working_in(self.data / "postgres" / "data") + leftovers.working_in(self.data / "kafka")
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            except OSError:
                continue
            if str(self.data).encode() in words and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        return found


@pytest.fixture
def up() -> Iterator[Up]:
    with folder_of_server("up") as folder:
        program = Up(folder / "data")
        yield program
        if program.process is not None and program.process.poll() is None:
            program.end()
        wait_until(lambda: not program.left(), "nothing is left running")


async def rows(dsn: str, query: str) -> list[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        return [row[0] for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def test_a_cluster_starts_says_where_it_is_and_stops(up: Up) -> None:
    content = up.start()
    assert (up.data / "cluster.json").stat().st_mode & 0o777 == 0o600
    assert (up.data / "nodes" / "1" / "node.toml").stat().st_mode & 0o777 == 0o600
    assert content == up.content()
    assert content["state"] == "ready"
    assert content["nodes"] == [{"id": 1, "region": "", "services": ["maintenance"]}]
    assert {each["protocol"] for each in content["endpoints"]} == {"api", "metrics"}
    assert set(up.pids()) == {"postgresql", "kafka", "maintenance"}
    assert content["bus"]["kind"] == "kafka"
    assert [account["name"] for account in content["accounts"]] == ["ann@example.org", "bob@example.org"]
    assert await rows(content["postgres"]["dsn"], "SELECT name FROM domain") == ["example.org"]
    assert up.suggested("account list").startswith("ann@example.org")

    again = up.run("up")
    assert again.returncode == 3
    assert f"process {content['pid']}" in again.stderr
    assert up.well()["state"] == "ready"
    assert "ready" in up.run("logs", "maintenance").stdout
    assert up.run("account", "add", "cat@example.org").returncode == 0
    assert up.run("account", "passwd", "ann@example.org", "--password", "another").returncode == 0

    assert up.end() == 0
    assert up.content()["state"] == "stopped"
    assert up.content()["processes"] == []
    assert up.left() == []
    assert up.run("status").returncode == 3

    second = up.start()
    assert second["endpoints"] == content["endpoints"]
    assert second["accounts"][0] == {"name": "ann@example.org", "password": "another"}
    assert await rows(second["postgres"]["dsn"], "SELECT count(*) FROM account") == [3]


async def test_what_dies_is_started_again_and_keeps_its_data(up: Up) -> None:
    content = up.start()
    for service in ("maintenance", "kafka", "postgresql"):
        before = up.pids()[service]
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: up.pids().get(service, before) != before, f"{service} is started again")  # noqa: B023
    wait_until(lambda: up.run("status").returncode == 0 and up.content()["state"] == "ready", "all is ready again")
    assert await rows(content["postgres"]["dsn"], "SELECT count(*) FROM account") == [2]


async def test_killed_without_warning_it_leaves_nothing_and_starts_again(up: Up) -> None:
    content = up.start()
    assert len(up.left()) >= 4
    assert up.end(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: not up.left(), "nothing is left running", 60)
    assert up.run("status").returncode == 3
    assert up.start()["endpoints"] == content["endpoints"]


def test_detached_it_returns_when_ready_and_is_stopped_by_a_command(up: Up) -> None:
    words = ("--services", "maintenance", "--bus", "peer-to-peer", "--nodes", "2")
    done = up.run("up", "--detach", "--json", *words)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["state"] == "ready"
    assert content["bus"] == {"kind": "peer-to-peer", "servers": []}

    assert up.run("node", "drain", "2", "--wait").returncode == 0
    gone = {"node": 2, "service": "maintenance"}
    wait_until(lambda: up.content()["drained"] == [gone], "what was drained is told")
    found = up.well()
    assert (found["state"], found["drained"]) == ("ready", [gone])
    assert [each["node"] for each in found["services"]] == [1]
    assert "drained" in up.run("status").stdout

    assert up.run("stop").returncode == 0
    assert up.left() == []
    assert up.content()["drained"] == []
    assert "no cluster was running" in up.run("stop").stdout


def test_without_a_network_it_goes_on_peer_to_peer_and_says_so(up: Up, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    environ = {"POSTHORN_CACHE": str(tmp_path / "cache"), "HTTPS_PROXY": nowhere, "https_proxy": nowhere}
    content = up.start(environ=environ)
    assert content["bus"]["kind"] == "peer-to-peer"
    assert "Apache Kafka cannot be fetched" in up.said()
    assert "peer-to-peer bus instead" in up.said()


@pytest.mark.s3
async def test_parts_elsewhere_are_used_by_options(
    up: Up, bare_postgres_dsn: str, kafka_servers: str, s3: S3, tmp_path: Path
) -> None:
    bucket = f"made-by-up-{os.getpid()}"
    place = s3.endpoint.replace("http://", f"http://{s3.access_key}:{s3.secret_key}@") + f"/{bucket}"
    words = ["--postgres", bare_postgres_dsn, "--bus", kafka_servers, "--s3", place, "--set", "cluster.region=north"]
    content = up.start(*words)
    assert set(up.pids()) == {"maintenance"}
    assert content["postgres"] == {"dsn": bare_postgres_dsn}
    assert content["bus"] == {"kind": "kafka", "servers": [kafka_servers]}
    assert content["blobs"]["bucket"] == bucket
    assert content["nodes"][0]["region"] == "north"
    assert s3.client().bucket_exists(bucket)
    assert await rows(bare_postgres_dsn, "SELECT count(*) FROM account") == [2]


def test_mistakes_end_at_once_with_their_reason(up: Up, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    base = next(base for base in range(21000, 30000, 100) if all(ports.is_free(base + n) for n in range(60)))
    with socket.create_server((ports.LOOPBACK, base + 20)):
        taken = up.run("up", "--ports", str(base))
    assert taken.returncode == 3
    assert f"{base + 20} (smtp of node 1)" in taken.stderr
    for words, told, code in [
        (("--set", "cluster.node-idd=2", "--set", "log.level=loud"), "node-id", 2),
        (("--bus", "rabbit"), "choose kafka, peer-to-peer", 2),
        (("--scale", "web=2"), "no service is called web", 2),
        (("--postgres-programs", str(tmp_path)), "holds no program initdb", 1),
    ]:
        done = up.run("up", *words)
        assert (done.returncode, told in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr
        assert up.left() == []
    refused = Up(tmp_path / "file" / "data").run("up")
    assert refused.returncode == 2
    assert "cannot be used: Not a directory" in refused.stderr
