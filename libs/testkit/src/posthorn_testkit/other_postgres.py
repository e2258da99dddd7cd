"""A PostgreSQL of another version than the embedded one, from a folder of programs (/usr/lib/postgresql/15/bin)."""

import os
import secrets
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from posthorn_ctl.embedded import ports, postgres
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.postgres import PostgresServer
from posthorn_ctl.embedded.privileges import identity_for, launched
from posthorn_ctl.embedded.run import Running
from posthorn_testkit.programs import folder_of_server
from posthorn_testkit.replication import UNSAFE

NEWER = ("io_method",)
"""Settings of the embedded one that older versions do not know."""


@contextmanager
def other_postgres_server(programs: Path, settings: Mapping[str, str] = UNSAFE) -> Iterator[str]:
    """The superuser's DSN of a running server with an empty cluster, made and run by `programs`. Raises PartError.

    `settings` are added to those of the embedded server.
    """
    if not (programs / "postgres").is_file():
        raise PartError(f"{programs} holds no PostgreSQL (Debian's package postgresql-15)")
    with folder_of_server("postgres") as folder:
        server = _prepare(folder, programs, settings)
        running = Running(server, folder / "log")
        running.start()
        try:
            yield server.dsn(superuser=True)
        finally:
            running.stop()


def _prepare(folder: Path, programs: Path, more: Mapping[str, str]) -> PostgresServer:
    identity = identity_for(programs / "postgres", folder / "data" / "base")
    password = secrets.token_urlsafe(24)
    data, secret = folder / "data", folder / "password"
    secret.write_text(password + "\n", encoding="ascii")
    secret.chmod(0o600)
    data.mkdir(mode=0o700)
    for path in (data, secret):
        os.chown(path, identity.uid, identity.gid)
    access = ["--auth=scram-sha-256", f"--username={postgres.SUPERUSER}", f"--pwfile={secret}"]
    done = subprocess.run(
        launched(
            [str(programs / "initdb"), "-D", str(data), *access, "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"],
            signal=signal.SIGKILL,
            identity=identity,
        ),
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        check=False,
    )
    secret.unlink()
    if done.returncode != 0:
        raise PartError(f"initdb: {done.stderr.strip()[-300:]}")
    settings = {name: value for name, value in {**postgres.SETTINGS, **more}.items() if name not in NEWER}
    return PostgresServer(data, programs, identity, ports.free_ports(1)[0], password, password, settings)
