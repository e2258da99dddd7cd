"""Starting where something is wrong: a clean message and exit code, or an announced fallback; never a trace."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from posthorn_testkit.cluster import PROGRAM, until
from posthorn_testkit.programs import folder_of_server
from posthorn_testkit.strict import missing

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
NOBODY = 65534
WRONG_SETTINGS, IN_USE = 2, 3
TEN_MISTAKES = """
[cluster]
nod-id = 2
heartbeat = "soon"
queue-shards = 0

[storage]
data = "postgers"

[store."postgres"]
type = "postgresql"
hots = "db"

[store."fs"]
type = "fs"

[server]
hostnam = "mx.example.org"

[server.listener."imap"]
protocol = "imap5"
bind = "127.0.0.1:99999"

[imap]
apend-limit = "1MB"
"""
START_SHOW_STOP = """
"$0" up --detach --nodes 2 --data "$1" && "$0" demo --data "$1"
code=$?
"$0" stop --data "$1"
exit $code
"""
LOOPBACK_ONLY = """
import fcntl, os, socket, struct, sys
with socket.socket() as any_socket:
    # SIOCSIFFLAGS, IFF_UP: a new network namespace has its loopback interface down.
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1))
os.execv(sys.argv[1], sys.argv[1:])
"""


def run(
    words: Sequence[str | Path], *, prefix: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, behind another that prepares its surroundings."""
    return subprocess.run(
        [*prefix, *map(str, words)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(environ or {})},
        timeout=240,
        check=False,
    )


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        missing(f"{name} is not installed: it belongs to util-linux")
    return found


def test_ten_mistakes_in_a_file_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(TEN_MISTAKES)
    done = run([PROGRAM.with_name("posthorn-imap"), "--config", file])
    lines = done.stderr.splitlines()
    assert done.returncode == WRONG_SETTINGS
    assert "10 problem(s)" in lines[0]
    for place, reason in [
        (":3: cluster.nod-id", "did you mean node-id?"),
        (":4: cluster.heartbeat", "not a duration"),
        (":5: cluster.queue-shards", "greater than or equal to 1"),
        (":8: storage.data", "did you mean postgres?"),
        (":12: store.postgres.hots", "did you mean host?"),
        (":14: store.fs.path", "is missing"),
        (":18: server.hostnam", "did you mean hostname?"),
        (":21: server.listener.imap.protocol", "imap"),
        (":22: server.listener.imap.bind", "127.0.0.1:99999"),
        (":25: imap.apend-limit", "did you mean append-limit?"),
    ]:
        assert any(place in line and reason in line for line in lines), (place, done.stderr)
    assert "Traceback" not in done.stderr


def test_ten_mistakes_on_the_command_line_start_nothing() -> None:
    mistakes = {
        "clustr.name=1": "clustr: is not a known key",
        "cluster.nam=1": "cluster.nam: is not a known key (did you mean name?)",
        "cluster.heartbeat=soon": "cluster.heartbeat: not a duration",
        "cluster.queue-shards=0": "cluster.queue-shards: ",
        "server.hostnam=1": "server.hostnam: is not a known key (did you mean hostname?)",
        "server.dat=1": "server.dat: is not a known key (did you mean data?)",
        "server.drain-limit=never": "server.drain-limit: not a duration",
        "log.lvl=info": "log.lvl: is not a known key (did you mean level?)",
        "log.level=loud": "log.level: ",
        "metrics.enabel=true": "metrics.enabel: is not a known key (did you mean enable?)",
    }
    with folder_of_server("mistakes") as folder:
        sets = [word for text in mistakes for word in ("--set", text)]
        done = run([PROGRAM, "up", "--data", folder / "data", "--bus", "peer-to-peer", *sets])
    assert done.returncode == WRONG_SETTINGS, done.stderr
    assert [reason for reason in mistakes.values() if reason not in done.stderr] == [], done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistake_of_one_service_ends_the_start_with_its_reason() -> None:
    with folder_of_server("mistakes") as folder:
        words = ("--services", "smtp-out", "--bus", "peer-to-peer", "--set", "smtp-out.retri=1s")
        done = run([PROGRAM, "up", "--data", folder / "data", *words])
    assert done.returncode > 0
    said = done.stdout + done.stderr
    assert "smtp-out.retri: is not a known key (did you mean retry?)" in said
    assert "Traceback" not in said


def test_a_data_folder_that_is_not_writable_is_refused(tmp_path: Path) -> None:
    """Also for root, when root may not pass over permissions."""
    folder = tmp_path / "closed"
    folder.mkdir()
    prefix: list[str] = []
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        prefix = [tool("setpriv"), "--bounding-set=-dac_override,-dac_read_search", "--"]
    folder.chmod(0o555)
    for data in (folder, folder / "data"):
        done = run([PROGRAM, "up", "--data", data], prefix=prefix)
        assert done.returncode == WRONG_SETTINGS, done.stderr
        assert f"the data folder {data} cannot be used: Permission denied" in done.stderr
        assert "--data" in done.stderr
        assert "Traceback" not in done.stderr
    assert list(folder.iterdir()) == []


def test_a_second_start_is_refused_while_the_first_goes_on(cluster_folder: Path) -> None:
    again = run([PROGRAM, "up", "--detach", "--data", cluster_folder])
    assert again.returncode == IN_USE
    assert "running" in again.stderr
    assert "posthorn stop" in again.stderr
    assert "Traceback" not in again.stderr
    until("the first is ready", lambda: run([PROGRAM, "status", "--data", cluster_folder]).returncode == 0)


@pytest.fixture
def cluster_folder(request: pytest.FixtureRequest) -> Path:
    """The folder of a cluster that runs."""
    folder: Path = request.getfixturevalue("cluster").folder
    return folder


def test_without_any_network_a_whole_cluster_starts_and_carries_mail() -> None:
    """First start, nothing cached: Kafka cannot be had, the nodes talk directly, and the demonstration passes."""
    environ = {"POSTHORN_CACHE": "", "HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    prefix: list[str] = []
    if os.geteuid() == 0:
        # Not even a route: every process of the cluster lives where only loopback exists.
        prefix = [tool("unshare"), "--net", sys.executable, "-c", LOOPBACK_ONLY]
    with folder_of_server("offline") as folder:
        environ["POSTHORN_CACHE"] = str(folder / f"cache-{secrets.token_hex(4)}")
        data = folder / "data"
        done = run(["/bin/sh", "-c", START_SHOW_STOP, PROGRAM, data], prefix=prefix, environ=environ)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-6000:]
        assert "Apache Kafka cannot be fetched" in said
        assert "peer-to-peer bus instead" in said
        assert "node 2 goes on" in said
        assert "Traceback" not in said
