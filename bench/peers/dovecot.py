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
from bench.peers.postfix import POSTFIX, postfix

DOVECOT = Path("/usr/sbin/dovecot")
LMTP = Path("/usr/lib/dovecot/lmtp")

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


@contextlib.asynccontextmanager
async def postfix_dovecot() -> AsyncIterator[Peer]:
    """The pair, running. Raises Missing."""
    if os.getuid():
        raise Missing("Postfix needs root")
    for program in (POSTFIX, DOVECOT, LMTP):
        if not program.exists():
            raise Missing(f"no {program}: apt-get install postfix dovecot-lmtpd")
    with tempfile.TemporaryDirectory(prefix="bench-dovecot-") as name:
        folder, owner = Path(name), pwd.getpwnam("nobody")
        folder.chmod(0o755)
        (folder / "run").mkdir()
        (folder / "mail").mkdir()
        shutil.chown(folder / "mail", owner.pw_uid, owner.pw_gid)
        values = {"folder": folder, "domain": DOMAIN, "uid": owner.pw_uid, "gid": owner.pw_gid}
        (folder / "dovecot.conf").write_text(DOVECOT_CONF.format(**values))
        dovecot = await asyncio.create_subprocess_exec(str(DOVECOT), "-F", "-c", str(folder / "dovecot.conf"))
        try:
            async with postfix(folder / "lmtp") as (port, root):
                mail, roots = folder / "mail", [dovecot.pid, root]
                yield Peer("Postfix + Dovecot", "127.0.0.1", port, lambda: asyncio.to_thread(_stored, mail), roots)
        finally:
            if dovecot.returncode is None:
                dovecot.terminate()
            await dovecot.wait()


def _stored(mail: Path) -> int:
    """What lies in the maildirs, whether anybody has looked at it or not."""
    places = [mail / user.partition("@")[0] / sub for user in recipients() for sub in ("new", "cur")]
    return sum(sum(1 for _ in os.scandir(place)) for place in places if place.exists())
