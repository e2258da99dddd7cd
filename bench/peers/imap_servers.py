"""The servers of the imap rows, each as its manual sets it up: Posthorn over PostgreSQL, Dovecot, Cyrus."""

import asyncio
import contextlib
import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from bench.peers.cyrus import IMAPD_CONF, MASTER, OWNER, PROGRAMS
from bench.peers.dovecot import DOVECOT
from bench.peers.imap_peer import PASSWORD, USERS, ImapPeer
from bench.peers.peer import DOMAIN, Missing
from bench.peers.posthorn import PROCESSES, place, process
from posthorn_ctl.embedded.ports import free_ports
from posthorn_testkit.certificates import certificate

READY_SECONDS = 30.0
UNPACKED = Path("/opt/cyrus-imapd/usr/lib/cyrus/bin/imapd")
"""Where Cyrus's imapd is beside Dovecot's: Debian installs one of them, so that the other is unpacked by `dpkg -x`."""

POSTHORN_TOML = """
[server.listener."imap"]
protocol = "imap"
bind = "127.0.0.1:{port}"
tls = "none"
allow-plaintext-auth = true
reuse-port = true
[server.listener."imaps"]
protocol = "imap"
bind = "127.0.0.1:{tls_port}"
tls = "implicit"
reuse-port = true
[imap.limits]
connections = 20000
connections-per-address = 20000
connections-per-account = 20000
"""

DOVECOT_CONF = """
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
disable_plaintext_auth = no
mail_location = maildir:{folder}/mail/%n
auth_username_format = %Ln
first_valid_uid = 1
mail_max_userip_connections = 20000
mail_plugins = quota
protocol imap {{
  mail_plugins = quota imap_quota
}}
plugin {{
  quota = count:account
  quota_vsizes = yes
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%n allow_all_users=yes
}}
service imap-login {{
  process_limit = 2000
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
service imap {{
  process_limit = 2000
}}
service anvil {{
  client_limit = 8000
}}
service auth {{
  client_limit = 8000
}}
service stats {{
  client_limit = 8000
}}
"""

CYRUS_IMAP_CONF = """
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {folder}/sasldb
sasl_mech_list: PLAIN
allowplaintext: yes
tls_server_cert: {folder}/cert.pem
tls_server_key: {folder}/key.pem
"""
CYRUS_CONF = """
START {{
  recover cmd="{programs}/ctl_cyrusdb -C {folder}/imapd.conf -r"
}}
SERVICES {{
  imap cmd="{imapd} -C {folder}/imapd.conf" listen="127.0.0.1:{port}" prefork=4 maxchild=2000
  imaps cmd="{imapd} -s -C {folder}/imapd.conf" listen="127.0.0.1:{tls_port}" prefork=0 maxchild=2000
}}
EVENTS {{
}}
"""


@contextlib.asynccontextmanager
async def posthorn(server: str) -> AsyncIterator[ImapPeer]:
    """The imap service on the PostgreSQL server of this superuser's DSN, and what indexes messages beside it."""
    port, tls_port = free_ports(2)
    async with contextlib.AsyncExitStack() as stack:
        settings = POSTHORN_TOML.format(port=port, tls_port=tls_port)
        here = await stack.enter_async_context(place(server, settings, PASSWORD))
        for number, service in enumerate((*["imap"] * PROCESSES, "maintenance")):
            log = here.folder / f"log{number}"
            here.roots.append(await stack.enter_async_context(process(service, here.config, log)))

        async def settled() -> None:
            while await here.connection.fetchval("SELECT EXISTS (SELECT FROM index_task WHERE state < 3)"):
                await asyncio.sleep(0.2)
            await here.connection.execute("VACUUM (ANALYZE)")  # as autovacuum will have done by then

        yield ImapPeer("Posthorn", "127.0.0.1", port, tls_port, lambda n: f"u{n}@{DOMAIN}", here.roots, settled)


@contextlib.asynccontextmanager
async def dovecot() -> AsyncIterator[ImapPeer]:
    """Dovecot over maildirs. Raises Missing."""
    if os.getuid():
        raise Missing("Dovecot's listeners are started by root")
    if not DOVECOT.exists():
        raise Missing(f"no {DOVECOT}: apt-get install dovecot-imapd")
    with tempfile.TemporaryDirectory(prefix="bench-dovecot-") as name:
        folder, owner = Path(name), pwd.getpwnam("nobody")
        _furnish(folder, ("run", "mail"), "nobody")
        port, tls_port = free_ports(2)
        values = {"folder": folder, "password": PASSWORD, "uid": owner.pw_uid, "gid": owner.pw_gid}
        text = DOVECOT_CONF.format(**values, port=port, tls_port=tls_port)
        (folder / "dovecot.conf").write_text(text)
        running = await asyncio.create_subprocess_exec(str(DOVECOT), "-F", "-c", str(folder / "dovecot.conf"))
        async with _until_ended(running, port):
            yield ImapPeer("Dovecot", "127.0.0.1", port, tls_port, lambda n: f"u{n}", [running.pid])


@contextlib.asynccontextmanager
async def cyrus() -> AsyncIterator[ImapPeer]:
    """Cyrus with mailboxes of its own. Raises Missing."""
    if os.getuid():
        raise Missing("Cyrus is started by root")
    adder = shutil.which("saslpasswd2")
    imapd = next((path for path in (PROGRAMS / "imapd", UNPACKED) if path.exists()), UNPACKED)
    for program in (MASTER, imapd, Path(adder or "/usr/sbin/saslpasswd2")):
        if not program.exists():
            raise Missing(
                f"no {program}: apt-get install cyrus-common sasl2-bin; apt-get download cyrus-imapd; "
                "dpkg -x cyrus-imapd_*.deb /opt/cyrus-imapd"
            )
    with tempfile.TemporaryDirectory(prefix="bench-cyrus-") as name:
        folder = Path(name)
        _furnish(folder, ("config", "mail", "sieve"), OWNER)
        port, tls_port = free_ports(2)
        await _add_users(str(adder), folder)
        values = {"folder": folder, "programs": PROGRAMS, "imapd": imapd, "port": port, "tls_port": tls_port}
        (folder / "imapd.conf").write_text((IMAPD_CONF + CYRUS_IMAP_CONF).format(**values))
        (folder / "cyrus.conf").write_text(CYRUS_CONF.format(**values))
        words = [str(MASTER), "-C", str(folder / "imapd.conf"), "-M", str(folder / "cyrus.conf")]
        running = await asyncio.create_subprocess_exec(*words, "-p", str(folder / "master.pid"))
        async with _until_ended(running, port):
            yield ImapPeer("Cyrus", "127.0.0.1", port, tls_port, lambda n: f"u{n}", [running.pid])


def _furnish(folder: Path, names: tuple[str, ...], user: str) -> None:
    """A folder for a server, a certificate in it, and folders that are its user's."""
    owner = pwd.getpwnam(user)
    folder.chmod(0o755)
    for path, text in zip((folder / "cert.pem", folder / "key.pem"), certificate(), strict=True):
        path.write_text(text)
    for path in (folder, folder / "cert.pem", folder / "key.pem"):
        shutil.chown(path, owner.pw_uid, owner.pw_gid)
    for name in names:
        (folder / name).mkdir()
        shutil.chown(folder / name, owner.pw_uid, owner.pw_gid)


async def _add_users(program: str, folder: Path) -> None:
    for number in range(USERS):
        words = [program, "-c", "-p", "-f", str(folder / "sasldb"), "-u", socket.gethostname(), f"u{number}"]
        adding = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.PIPE)
        await adding.communicate(PASSWORD.encode())
        if adding.returncode:
            raise Missing("saslpasswd2 cannot write its file")
    shutil.chown(folder / "sasldb", OWNER)


@contextlib.asynccontextmanager
async def _until_ended(running: asyncio.subprocess.Process, port: int) -> AsyncIterator[None]:
    """A server that accepts connections; it ends with the block."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                if running.returncode is not None:
                    raise Missing(f"it ended at once with {running.returncode}")
                await asyncio.sleep(0.05)
        yield
    finally:
        if running.returncode is None:
            running.terminate()
        await running.wait()


OTHERS: tuple[Callable[[], contextlib.AbstractAsyncContextManager[ImapPeer]], ...] = (dovecot, cyrus)
