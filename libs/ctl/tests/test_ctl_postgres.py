"""The embedded PostgreSQL: real server, scram, durable, tied to its parent's life."""

import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from posthorn_ctl.embedded import leftovers, ports, postgres
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.privileges import Identity, identity_for, launched
from posthorn_ctl.embedded.run import Running
from posthorn_testkit.programs import folder_of_server

pytestmark = pytest.mark.postgres

START = """
import sys
from pathlib import Path
from posthorn_ctl.embedded import postgres
from posthorn_ctl.embedded.run import Running
folder = Path(sys.argv[1])
Running(postgres.prepare(folder), folder / "log").start()
print("ready", flush=True)
sys.stdin.read()
"""


def wait_until(condition: Callable[[], bool], what: str, limit: float = 60.0) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit:.0f} s: {what}"
        time.sleep(0.05)


@pytest.fixture
def place() -> Iterator[Path]:
    with folder_of_server("pg") as folder:
        yield folder


@pytest.fixture
def running(place: Path) -> Iterator[Running]:
    server = Running(postgres.prepare(place), place / "log")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def namespace() -> Identity:
    inside = Identity(0, 0, ("--namespace",))
    if subprocess.run(launched(["/bin/true"], signal=9, identity=inside), check=False).returncode:
        pytest.skip("user namespaces are not allowed here")
    return inside


def dsn_of(running: Running, **choice: bool) -> str:
    assert isinstance(running.part, postgres.PostgresServer)
    return running.part.dsn(**choice)


async def test_it_asks_for_passwords_and_is_durable(running: Running, place: Path) -> None:
    connection = await asyncpg.connect(dsn_of(running))
    try:
        assert await connection.fetchval("SHOW synchronous_commit") == "on"
        assert await connection.fetchval("SHOW fsync") == "on"
        assert await connection.fetchval("SHOW listen_addresses") == "127.0.0.1"
        assert not await connection.fetchval("SELECT usesuper FROM pg_user WHERE usename = current_user")
        await connection.execute("CREATE EXTENSION pg_trgm")
    finally:
        await connection.close()
    superuser = await asyncpg.connect(dsn_of(running, superuser=True))
    try:
        assert await superuser.fetchval("SHOW unix_socket_directories") == ""
        hashes = await superuser.fetch("SELECT rolpassword FROM pg_authid WHERE rolcanlogin")
        assert hashes
        assert all(row["rolpassword"].startswith("SCRAM-SHA-256$") for row in hashes)
    finally:
        await superuser.close()
    for wrong in (dsn_of(running), dsn_of(running, superuser=True)):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(wrong.replace(":", ":x", 2).replace("x//", "//"))
    for name in ("superuser.password", "posthorn.password"):
        assert (place / name).stat().st_mode & 0o777 == 0o600


async def test_data_and_port_outlive_a_stop_and_a_power_cut(running: Running, place: Path) -> None:
    for number, end in enumerate((running.stop, running.kill), start=1):
        connection = await asyncpg.connect(dsn_of(running))
        await connection.execute(f"CREATE TABLE kept{number} (id int)")
        await connection.close()
        end()
        assert leftovers.working_in(place / "data") == []
        again = postgres.prepare(place)
        assert again == running.part
        running.start()
    connection = await asyncpg.connect(dsn_of(running))
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'kept%'") == 2
    finally:
        await connection.close()


def test_a_stale_pid_file_with_a_living_strangers_number_is_no_hindrance(place: Path) -> None:
    server = Running(postgres.prepare(place), place / "log")
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as stranger:
        pid_file = place / "data" / "postmaster.pid"
        pid_file.write_text(f"{stranger.pid}\n{place / 'data'}\n0\n{server.part.port}\n\n127.0.0.1\n")
        server.start()
        server.stop()
        assert stranger.poll() is None
        stranger.kill()


def test_it_ends_when_its_parent_is_killed(place: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", START, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        assert leftovers.working_in(place / "data")
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not leftovers.working_in(place / "data"), "the server ends")


def test_what_an_earlier_life_left_running_is_ended_first(running: Running, place: Path) -> None:
    before = leftovers.working_in(place / "data")
    assert before
    again = Running(postgres.prepare(place), place / "log")
    again.start()
    assert not set(before) & set(leftovers.working_in(place / "data"))
    again.stop()


def test_a_half_made_cluster_is_made_anew(place: Path) -> None:
    (place / "data.new").mkdir()
    (place / "data.new" / "PG_VERSION").write_text("18")
    server = Running(postgres.prepare(place), place / "log")
    server.start()
    server.stop()
    assert not (place / "data.new").exists()


def test_a_cluster_of_another_version_is_refused(place: Path) -> None:
    (place / "data").mkdir()
    (place / "data" / "PG_VERSION").write_text("15\n")
    with pytest.raises(PartError, match=r"PostgreSQL 15, not 18"):
        postgres.prepare(place)


def test_a_port_that_is_taken_is_exchanged(place: Path) -> None:
    first = postgres.prepare(place)
    with socket.create_server((ports.LOOPBACK, first.port)):
        second = postgres.prepare(place)
    assert second.port != first.port
    assert postgres.prepare(place).port == second.port


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to give up")
def test_root_runs_it_as_nobody_where_nobody_can_reach_it(running: Running, place: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in leftovers.working_in(place / "data")}
    assert owners == {nobody.pw_uid}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to give up")
async def test_root_uses_a_user_namespace_where_nobody_cannot_reach_it(place: Path, namespace: Identity) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    server = Running(postgres.prepare(closed / "pg"), place / "log")
    assert isinstance(server.part, postgres.PostgresServer)
    assert server.part.identity == namespace
    server.start()
    try:
        connection = await asyncpg.connect(server.part.dsn())
        await connection.close()
        assert closed.stat().st_mode & 0o777 == 0o700
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to give up")
def test_neither_nobody_nor_namespace_is_refused_with_the_folder_named(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr("posthorn_ctl.embedded.privileges.LAUNCHER", place / "no-launcher.py")
    with pytest.raises(PartError, match=rf"nobody cannot reach {closed / 'data'}"):
        identity_for(postgres.binaries() / "postgres", closed / "data")


def test_programs_that_are_not_there_are_named(place: Path) -> None:
    with pytest.raises(PartError, match=r"nothing holds no program initdb"):
        postgres.prepare(place / "x", programs=place / "nothing")
