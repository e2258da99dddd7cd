"""Postfix that hands over to Dovecot by LMTP: maildirs, fsync everywhere, no filters, as their manuals set them up."""

import asyncio
import contextlib
import os
import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from bench.peers.peer import DOMAIN, Missing, Peer, recipients
from posthorn_ctl.embedded.ports import free_ports

POSTFIX = Path("/usr/sbin/postfix")
DOVECOT = Path("/usr/sbin/dovecot")
LMTP = Path("/usr/lib/dovecot/lmtp")
READY_SECONDS = 30.0

DOVECOT_CONF = """
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/dovecot.log
protocols = lmtp
listen = 127.0.0.1
ssl = no
mail_location = maildir:{folder}/mail/%n
mail_fsync = always
auth_username_format = %Ln
postmaster_address = postmaster@{domain}
hostname = dovecot.{domain}
first_valid_uid = 1
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%n allow_all_users=yes
}}
service lmtp {{
  process_min_avail = 4
  process_limit = 400
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
}}
service stats {{
  client_limit = 4000
}}
"""
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
virtual_mailbox_domains = {domain}
virtual_mailbox_maps = static:there
virtual_transport = lmtp:unix:{folder}/lmtp
lmtp_destination_concurrency_limit = 20
lmtp_destination_recipient_limit = 1
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
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@contextlib.asynccontextmanager
async def postfix_dovecot() -> AsyncIterator[Peer]:
    """The pair, running. Raises Missing."""
    if os.getuid():
        raise Missing("Postfix needs root")
    for program in (POSTFIX, DOVECOT, LMTP):
        if not program.exists():
            raise Missing(f"no {program}: apt-get install postfix dovecot-lmtpd")
    with tempfile.TemporaryDirectory(prefix="bench-postfix-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        owner, port = pwd.getpwnam("nobody"), free_ports(1)[0]
        for sub in ("run", "queue", "data", "etc"):
            (folder / sub).mkdir()
        (folder / "mail").mkdir()
        shutil.chown(folder / "mail", owner.pw_uid, owner.pw_gid)
        shutil.chown(folder / "data", "postfix")
        values = {"folder": folder, "domain": DOMAIN, "uid": owner.pw_uid, "gid": owner.pw_gid, "port": port}
        (folder / "dovecot.conf").write_text(DOVECOT_CONF.format(**values))
        (folder / "etc" / "main.cf").write_text(MAIN_CF.format(**values))
        (folder / "etc" / "master.cf").write_text(MASTER_CF.format(**values))
        dovecot = await asyncio.create_subprocess_exec(str(DOVECOT), "-F", "-c", str(folder / "dovecot.conf"))
        try:
            await _postfix(folder, "start")
            await _listening(port, folder)
            roots = [dovecot.pid, int((folder / "queue" / "pid" / "master.pid").read_text())]
            mail = folder / "mail"
            yield Peer("Postfix + Dovecot", "127.0.0.1", port, lambda: asyncio.to_thread(_stored, mail), roots)
        finally:
            with contextlib.suppress(RuntimeError):
                await _postfix(folder, "stop")
            if dovecot.returncode is None:
                dovecot.terminate()
            await dovecot.wait()


async def _postfix(folder: Path, verb: str) -> None:
    process = await asyncio.create_subprocess_exec(
        str(POSTFIX), "-c", str(folder / "etc"), verb, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"postfix {verb}: {said.decode(errors='replace')}")


async def _listening(port: int, folder: Path) -> None:
    try:
        async with asyncio.timeout(READY_SECONDS):
            while not (folder / "lmtp").exists() or not await _answers(port):
                await asyncio.sleep(0.05)
    except TimeoutError:
        logs = [path.read_text(errors="replace")[-2000:] for path in folder.glob("*.log")]
        raise RuntimeError("\n".join(["Postfix and Dovecot do not answer", *logs])) from None


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def _stored(mail: Path) -> int:
    """What lies in the maildirs, whether anybody has looked at it or not."""
    places = [mail / user.partition("@")[0] / sub for user in recipients() for sub in ("new", "cur")]
    return sum(sum(1 for _ in os.scandir(place)) for place in places if place.exists())
