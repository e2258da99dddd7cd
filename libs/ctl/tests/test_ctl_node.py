"""`posthorn node`: several services of one node as real processes, on a real database."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import asyncpg
import pytest

from posthorn_ctl.cluster.toml_text import rendered
from posthorn_ctl.embedded import ports
from posthorn_testkit.cluster import posthorn

pytestmark = [pytest.mark.postgres, pytest.mark.cluster, pytest.mark.timeout(300)]


def settings(dsn: str, place: Path) -> tuple[Path, dict[str, int]]:
    """A node's file with the listeners of jmap and maintenance; returns it with the ports by name."""
    names = ["jmap", "api", "jmap-vitals", "api-vitals"]
    chosen = dict(zip(names, ports.free_ports(4), strict=True))
    tree = {
        "cluster": {"secret": "s" * 32, "failure-after": "60s", "lease-ttl": "60s"},
        "server": {
            "hostname": "node.localhost",
            "drain-delay": "0s",
            "data": str(place / "data"),
            "listener": {name: {"protocol": name, "bind": f"127.0.0.1:{chosen[name]}"} for name in ("jmap", "api")},
        },
        "store": {"postgres": {"type": "postgresql", "dsn": dsn}, "fs": {"type": "fs", "path": str(place / "blobs")}},
        "metrics": {
            "binds": {
                "jmap": f"127.0.0.1:{chosen['jmap-vitals']}",
                "maintenance": f"127.0.0.1:{chosen['api-vitals']}",
            }
        },
    }
    path = place / "node.toml"
    path.write_text(rendered(tree))
    return path, chosen


def start(
    config: Path, services: str = "jmap,maintenance", *, command: tuple[str, ...] = ()
) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "posthorn_ctl", "node", *command, "--services", services, "--config", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(os.environ),
    )


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def wait_until_ready(node: "subprocess.Popen[str]", vitals: list[int]) -> None:
    deadline = time.monotonic() + 240
    while not all(ready(port) for port in vitals):
        assert node.poll() is None, node.stdout.read() if node.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.1)


async def test_services_of_one_node_share_its_id_and_end_together(postgres_dsn: str, tmp_path: Path) -> None:
    config, chosen = settings(postgres_dsn, tmp_path)
    with start(config) as node:
        wait_until_ready(node, [chosen["jmap-vitals"], chosen["api-vitals"]])
        connection = await asyncpg.connect(postgres_dsn)
        rows = await connection.fetch("SELECT node_id, service FROM process WHERE state <> 'left' ORDER BY service")
        assert [tuple(row) for row in rows] == [(1, "jmap"), (1, "maintenance")]
        node.send_signal(signal.SIGTERM)
        output, _ = node.communicate(timeout=120)
        assert node.returncode == 0, output
        assert await connection.fetchval("SELECT count(*) FROM process WHERE state <> 'left'") == 0
        await connection.close()
    assert ports.is_free(chosen["jmap"])
    assert ports.is_free(chosen["api"])


def test_a_drained_node_ends_by_itself_and_is_listed_until_then(postgres_dsn: str, tmp_path: Path) -> None:
    config, chosen = settings(postgres_dsn, tmp_path)
    with start(config, command=("run",)) as node:
        wait_until_ready(node, [chosen["jmap-vitals"], chosen["api-vitals"]])
        listed = json.loads(posthorn("node", "list", "--config", str(config), "--json").stdout)
        assert [(each["node"], each["service"], each["host"]) for each in listed] == [
            (1, "jmap", socket.gethostname()),
            (1, "maintenance", socket.gethostname()),
        ]
        assert "jmap" in posthorn("node", "list", "--config", str(config)).stdout
        drained = posthorn("node", "drain", "1", "--wait", "--config", str(config), "--json")
        output, _ = node.communicate(timeout=120)
        assert node.returncode == 0, output
    assert drained.returncode == 0, drained.stderr
    answer = json.loads(drained.stdout)
    assert sorted(each["boot"] for each in answer["asked"]) == answer["left"]
    assert "no other ready process runs jmap" in drained.stderr
    again = posthorn("node", "drain", "--all-on", socket.gethostname(), "--config", str(config))
    assert (again.returncode, again.stdout) == (1, "")
    assert "no process of the machine" in again.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["drain"], "say either the ids of nodes, or --all-on HOST"),
        (["drain", "1", "--all-on", "here"], "say either the ids of nodes, or --all-on HOST"),
        (["--services", "imap", "drain", "1"], "options go behind the command"),
        (["run"], "say --config PATH"),
    ],
)
def test_unclear_words_end_with_2(words: list[str], told: str) -> None:
    done = posthorn("node", *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_ends_the_node_and_is_named(postgres_dsn: str, tmp_path: Path) -> None:
    config, chosen = settings(postgres_dsn, tmp_path)
    with socket.create_server(("127.0.0.1", chosen["jmap"])), start(config, "jmap") as node:
        output, _ = node.communicate(timeout=240)
    assert node.returncode == 3
    assert f"cannot listen on 127.0.0.1:{chosen['jmap']}" in output


@pytest.mark.parametrize(
    ("services", "content", "told"),
    [
        ("jmap,web", "", "no service is called web"),
        (",", "", "no service is called (none)"),
        ("jmap", "[cluster]\nnod-id = 1\n", "node-id"),
        ("jmap", "[cluster", "is not TOML"),
    ],
)
def test_mistakes_end_with_2_and_their_reason(tmp_path: Path, services: str, content: str, told: str) -> None:
    config = tmp_path / "node.toml"
    config.write_text(content)
    with start(config, services) as node:
        output, _ = node.communicate(timeout=240)
    assert node.returncode == 2
    assert told in output
    assert "Traceback" not in output
