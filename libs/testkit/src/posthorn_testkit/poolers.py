"""PgBouncer in transaction mode before a PostgreSQL, with fewer servers than clients, so that they are shared."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from posthorn_ctl.embedded import ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.privileges import identity_for, launched
from posthorn_testkit.programs import await_port, folder_of_server

SERVERS = 4
"""Connections to the server for each database; the pools of a Storage are larger."""


@contextmanager
def pgbouncer(dsn: str) -> Iterator[str]:
    """The DSN of a running PgBouncer that leads to the server and user of `dsn`. Raises PartError."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        raise PartError("PgBouncer is not installed (Debian's package pgbouncer)")
    parts = urlsplit(dsn)
    port = ports.free_ports(1)[0]
    with folder_of_server("pgbouncer") as folder:
        identity = identity_for(Path(program), folder / "pgbouncer.ini")
        secret = folder / "users"
        secret.write_text(f'"{unquote(parts.username or "")}" "{unquote(parts.password or "")}"\n', encoding="utf-8")
        settings = folder / "pgbouncer.ini"
        settings.write_text(_settings(parts.hostname or "", parts.port or 5432, port, secret), encoding="utf-8")
        for path in (secret, settings):
            path.chmod(0o600)
            os.chown(path, identity.uid, identity.gid)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                launched([program, "--quiet", str(settings)], signal=signal.SIGTERM, identity=identity),
                cwd="/",
                env={"PATH": os.defpath},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            await_port(port, process, folder / "log")
            login = parts.netloc.rpartition("@")[0]
            yield parts._replace(netloc=f"{login}@{ports.LOOPBACK}:{port}").geturl()
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()


def _settings(host: str, server: int, port: int, users: Path) -> str:
    return f"""[databases]
* = host={host} port={server}

[pgbouncer]
listen_addr = {ports.LOOPBACK}
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {SERVERS}
max_client_conn = 500
server_idle_timeout = 5
"""
