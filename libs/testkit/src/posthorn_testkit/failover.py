"""Two PostgreSQL under Patroni, one the synchronous standby of the other, with etcd to decide who is the primary."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posthorn_ctl.embedded import leftovers, ports, postgres
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.privileges import Identity, identity_for, launched
from posthorn_testkit.programs import await_port, folder_of_server
from posthorn_testkit.replication import UNSAFE

TTL = 20
"""Seconds until a primary that died without a word is no longer believed in: Patroni accepts no less."""
START_SECONDS = 60.0


@dataclass(slots=True)
class Member:
    """One PostgreSQL with its Patroni."""

    name: str
    folder: Path
    port: int
    rest_port: int
    identity: Identity
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start Patroni, which starts PostgreSQL; returns at once."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                launched(
                    [sys.executable, "-m", "patroni", str(self.folder / "patroni.json")],
                    signal=signal.SIGTERM,
                    identity=self.identity,
                ),
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C", "HOME": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """SIGKILL to Patroni and to every process of its PostgreSQL: a machine that loses its power."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        leftovers.end(self.folder / "data", first=signal.SIGKILL)

    def state(self) -> dict[str, Any]:
        """What Patroni tells of it (role, state, timeline, ...); empty while it does not answer."""
        with suppress(OSError, ValueError):
            answer = urllib.request.urlopen(f"http://{ports.LOOPBACK}:{self.rest_port}/patroni", timeout=2)
            with answer:
                return dict(json.loads(answer.read()))
        return {}

    def log_end(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-1500:]


@dataclass(slots=True)
class PatroniSet:
    """The members; both run when a test begins."""

    members: list[Member]
    password: str = field(repr=False)

    def dsn(self, database: str = postgres.SUPERUSER) -> str:
        """With both hosts, as the superuser."""
        places = ",".join(f"{ports.LOOPBACK}:{member.port}" for member in self.members)
        return f"postgresql://{postgres.SUPERUSER}:{self.password}@{places}/{database}?target_session_attrs=read-write"

    def replicas(self, database: str) -> tuple[str, ...]:
        """The DSN of each host alone."""
        login = f"postgresql://{postgres.SUPERUSER}:{self.password}"
        return tuple(f"{login}@{ports.LOOPBACK}:{member.port}/{database}" for member in self.members)

    def primary(self) -> Member | None:
        """Who is the primary now, by its own word."""
        return next((one for one in self.members if one.state().get("role") in ("primary", "master")), None)

    def wait_for_pair(self, seconds: float = START_SECONDS) -> Member:
        """Wait until one is the primary and the other its synchronous standby; returns the first. Raises PartError."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            primary = self.primary()
            if primary is not None:
                standbys = [one for one in self.members if one is not primary]
                if all(one.state().get("sync_standby") for one in standbys):
                    return primary
            time.sleep(0.1)
        raise PartError("no pair: " + " | ".join(member.log_end() for member in self.members))


@contextmanager
def patroni_pair() -> Iterator[PatroniSet]:
    """A running pair. Raises PartError."""
    etcd = shutil.which("etcd")
    if etcd is None:
        raise PartError("etcd is not installed (Debian's package etcd-server)")
    with folder_of_server("patroni") as folder:
        made = PatroniSet([], secrets.token_hex(12))
        identity = _identity(folder)
        with _etcd(etcd, folder / "etcd") as place:
            try:
                for name in ("one", "two"):
                    made.members.append(_member(folder / name, name, place, made.password, identity))
                for member in made.members:
                    member.start()
                made.wait_for_pair()
                yield made
            finally:
                for member in made.members:
                    member.kill()


def _identity(folder: Path) -> Identity:
    """Who may run both PostgreSQL and this Python."""
    found = [identity_for(path, folder / "x") for path in (postgres.binaries() / "postgres", Path(sys.executable))]
    return max(found, key=lambda identity: "--namespace" in identity.options)


@contextmanager
def _etcd(program: str, folder: Path) -> Iterator[str]:
    client, peer = ports.free_ports(2)
    folder.mkdir()
    urls = {"client": f"http://{ports.LOOPBACK}:{client}", "peer": f"http://{ports.LOOPBACK}:{peer}"}
    options = ["--name", "only", "--data-dir", str(folder / "data"), "--logger", "zap", "--log-outputs", "stderr"]
    options += ["--listen-client-urls", urls["client"], "--advertise-client-urls", urls["client"]]
    options += ["--listen-peer-urls", urls["peer"], "--initial-advertise-peer-urls", urls["peer"]]
    options += ["--initial-cluster", f"only={urls['peer']}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            launched([program, *options], signal=signal.SIGKILL),
            cwd=folder,
            env={"PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        await_port(client, process, folder / "log")
        yield f"{ports.LOOPBACK}:{client}"
    finally:
        process.kill()
        process.wait()


def _member(folder: Path, name: str, etcd: str, password: str, identity: Identity) -> Member:
    folder.mkdir()
    taken = ports.free_ports(2)
    member = Member(name, folder, taken[0], taken[1], identity)
    settings = folder / "patroni.json"
    settings.write_text(json.dumps(_settings(member, etcd, password)), encoding="utf-8")
    settings.chmod(0o600)
    for path in (folder, settings):
        os.chown(path, identity.uid, identity.gid)
    return member


def _settings(member: Member, etcd: str, password: str) -> dict[str, Any]:
    place = f"{ports.LOOPBACK}:{member.port}"
    rest = f"{ports.LOOPBACK}:{member.rest_port}"
    parameters = {**postgres.SETTINGS, **UNSAFE}
    del parameters["listen_addresses"]
    return {
        "scope": "posthorn",
        "name": member.name,
        "restapi": {"listen": rest, "connect_address": rest},
        "etcd3": {"hosts": [etcd]},
        "bootstrap": {
            "dcs": {
                "ttl": TTL,
                "loop_wait": 1,
                "retry_timeout": 3,
                "synchronous_mode": True,
                "postgresql": {"parameters": parameters},
            },
            "initdb": [{"encoding": "UTF8"}, {"locale": "C"}],
        },
        "postgresql": {
            "listen": place,
            "connect_address": place,
            "data_dir": str(member.folder / "data"),
            "bin_dir": str(postgres.binaries()),
            # A primary that comes back with a log of its own starts over as a copy of the new one.
            "remove_data_directory_on_diverged_timelines": True,
            "pgpass": str(member.folder / "pgpass"),
            "authentication": {
                "superuser": {"username": postgres.SUPERUSER, "password": password},
                "replication": {"username": "replicator", "password": password},
            },
            "pg_hba": [
                f"host all all {ports.LOOPBACK}/32 scram-sha-256",
                f"host replication all {ports.LOOPBACK}/32 scram-sha-256",
            ],
        },
    }
