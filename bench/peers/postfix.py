"""Postfix without filters: before a store, by LMTP, as the manuals of Dovecot and Cyrus set it up; and as a relay."""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from bench.peers.peer import DOMAIN, Missing, Peer, nothing_stored
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.ports import free_ports
from posthorn_testkit.milters import opendkim_server

POSTFIX = Path("/usr/sbin/postfix")
READY_SECONDS = 30.0

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.{domain}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_client_connection_count_limit = 0
default_process_limit = 120
queue_run_delay = 2s
minimal_backoff_time = 1s
message_size_limit = 52428800
mailbox_size_limit = 0
alias_maps =
maillog_file_prefixes = {folder}
maillog_file = {folder}/postfix.log
"""
STORED = """
virtual_mailbox_domains = {domain}
virtual_mailbox_maps = static:there
virtual_transport = lmtp:unix:{socket}
lmtp_destination_concurrency_limit = 20
lmtp_destination_recipient_limit = 1
"""
RELAYED = """
transport_maps = texthash:{folder}/etc/transport
smtp_destination_concurrency_limit = {connections}
smtp_tls_security_level = none
smtp_dns_support_level = disabled
smtp_host_lookup = native
"""
FILTERED = """
smtpd_milters = inet:{milter}
milter_default_action = tempfail
"""
MASTER_CF = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
lmtp unix - - n - - lmtp
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@contextlib.asynccontextmanager
async def postfix(socket: Path) -> AsyncIterator[tuple[int, int]]:
    """Before a store: its port, and the process that all its processes descend from. `socket` is where LMTP listens."""
    async with _running(STORED, "", socket, socket=socket) as found:
        yield found


@contextlib.asynccontextmanager
async def relaying_postfix(routes: Mapping[str, str], connections: int, *, signed: bool = False) -> AsyncIterator[Peer]:
    """As a relay: `routes` are "host:port" by domain, `connections` how many at once for each; `signed`: opendkim signs
    what the domain sends, as its manual sets it up. Raises Missing.
    """
    if os.getuid():
        raise Missing("Postfix needs root")
    if not POSTFIX.exists():
        raise Missing(f"no {POSTFIX}: apt-get install postfix")
    lines = [f"{domain} smtp:[{to.rpartition(':')[0]}]:{to.rpartition(':')[2]}" for domain, to in routes.items()]
    settings, roots = RELAYED, list[int]()
    values: dict[str, object] = {"connections": connections}
    with contextlib.ExitStack() as stack:
        if signed:
            try:
                milter = stack.enter_context(opendkim_server(DOMAIN, "relaxed/relaxed"))
            except PartError as error:
                raise Missing(str(error)) from None
            settings, values["milter"] = settings + FILTERED, milter.address
            roots.append(milter.pid)
        async with _running(settings, "\n".join(lines) + "\n", None, **values) as (port, root):
            name = "Postfix with opendkim" if signed else "Postfix"
            yield Peer(name, "127.0.0.1", port, nothing_stored, [root, *roots])


@contextlib.asynccontextmanager
async def _running(
    more: str, transports: str, waits_for: Path | None, **values: object
) -> AsyncIterator[tuple[int, int]]:
    with tempfile.TemporaryDirectory(prefix="bench-postfix-") as name:
        folder, port = Path(name), free_ports(1)[0]
        folder.chmod(0o755)
        for sub in ("queue", "data", "etc"):
            (folder / sub).mkdir()
        shutil.chown(folder / "data", "postfix")
        values |= {"folder": folder, "domain": DOMAIN, "port": port}
        (folder / "etc" / "main.cf").write_text(MAIN_CF.format(**values) + more.format(**values))
        (folder / "etc" / "master.cf").write_text(MASTER_CF.format(**values))
        (folder / "etc" / "transport").write_text(transports)
        try:
            await _postfix(folder, "start")
            await _listening(port, waits_for, folder)
            yield port, int((folder / "queue" / "pid" / "master.pid").read_text())
        finally:
            with contextlib.suppress(RuntimeError):
                await _postfix(folder, "stop")


async def _postfix(folder: Path, verb: str) -> None:
    process = await asyncio.create_subprocess_exec(
        str(POSTFIX), "-c", str(folder / "etc"), verb, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"postfix {verb}: {said.decode(errors='replace')}")


async def _listening(port: int, socket: Path | None, folder: Path) -> None:
    try:
        async with asyncio.timeout(READY_SECONDS):
            while (socket is not None and not socket.exists()) or not await _answers(port):
                await asyncio.sleep(0.05)
    except TimeoutError:
        logs = [path.read_text(errors="replace")[-2000:] for path in folder.glob("*.log")]
        raise RuntimeError("\n".join(["Postfix, or the store behind it, does not answer", *logs])) from None


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
