"""Postfix that hands over to Cyrus by LMTP: its mail folders and databases, which it syncs itself; no filters."""

import asyncio
import contextlib
import os
import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from bench.peers.peer import Missing, Peer
from bench.peers.postfix import POSTFIX, postfix

MASTER = Path("/usr/lib/cyrus/bin/master")
PROGRAMS = Path("/usr/lib/cyrus/bin")
OWNER = "cyrus"

IMAPD_CONF = """
configdirectory: {folder}/config
defaultpartition: default
partition-default: {folder}/mail
admins: cyrus
virtdomains: off
unixhierarchysep: yes
lmtp_downcase_rcpt: yes
lmtpsocket: {folder}/lmtp
syslog_prefix: bench-cyrus
conversations: no
duplicatesuppression: no
sievedir: {folder}/sieve
autocreate_quota: 0
autocreate_post: yes
"""
CYRUS_CONF = """
START {{
  recover cmd="{programs}/ctl_cyrusdb -C {folder}/imapd.conf -r"
}}
SERVICES {{
  lmtpunix cmd="{programs}/lmtpd -a -C {folder}/imapd.conf" listen="{folder}/lmtp" prefork=4 maxchild=100
}}
EVENTS {{
}}
"""


@contextlib.asynccontextmanager
async def postfix_cyrus() -> AsyncIterator[Peer]:
    """The pair, running. Raises Missing."""
    if os.getuid():
        raise Missing("Postfix needs root")
    for program in (POSTFIX, MASTER):
        if not program.exists():
            raise Missing(f"no {program}: apt-get install postfix cyrus-imapd")
    with tempfile.TemporaryDirectory(prefix="bench-cyrus-") as name:
        folder, owner = Path(name), pwd.getpwnam(OWNER)
        folder.chmod(0o755)
        shutil.chown(folder, owner.pw_uid, owner.pw_gid)
        for sub in ("config", "mail", "sieve"):
            (folder / sub).mkdir()
            shutil.chown(folder / sub, owner.pw_uid, owner.pw_gid)
        values = {"folder": folder, "programs": PROGRAMS}
        (folder / "imapd.conf").write_text(IMAPD_CONF.format(**values))
        (folder / "cyrus.conf").write_text(CYRUS_CONF.format(**values))
        words = [str(MASTER), "-C", str(folder / "imapd.conf"), "-M", str(folder / "cyrus.conf")]
        words += ["-p", str(folder / "master.pid")]
        master = await asyncio.create_subprocess_exec(*words)
        try:
            async with postfix(folder / "lmtp") as (port, root):
                mail = folder / "mail"
                roots = [master.pid, root]
                yield Peer("Postfix + Cyrus", "127.0.0.1", port, lambda: asyncio.to_thread(_stored, mail), roots)
        finally:
            if master.returncode is None:
                master.terminate()
            await master.wait()


def _stored(mail: Path) -> int:
    """All messages: files whose names are a number and a dot."""
    return sum(file[:-1].isdigit() for _, _, files in os.walk(mail) for file in files if file.endswith("."))
