"""Another server's reading of messages: Cyrus's imapd, started by its master in a folder of its own, with one user."""

import contextlib
import imaplib
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from posthorn_ctl.embedded.ports import free_ports
from posthorn_testkit.programs import folder_of_server
from posthorn_testkit.strict import missing

PROGRAMS = Path("/usr/lib/cyrus/bin")
UNPACKED = Path("/opt/cyrus-imapd/usr/lib/cyrus/bin/imapd")
"""Where imapd is beside Dovecot's: Debian installs one of them, so that the other is unpacked by `dpkg -x`."""
OWNER = "cyrus"
READY_SECONDS = 30.0
LOGIN = ("peer", "secret")
_IMAPD = """
configdirectory: {folder}/config
defaultpartition: default
partition-default: {folder}/mail
virtdomains: off
unixhierarchysep: yes
sievedir: {folder}/sieve
syslog_prefix: test-cyrus
conversations: no
allowplaintext: yes
autocreate_quota: 0
autocreate_post: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {folder}/sasldb
sasl_mech_list: PLAIN
maxmessagesize: 52428800
"""
_MASTER = """
START {{
  recover cmd="{programs}/ctl_cyrusdb -C {folder}/imapd.conf -r"
}}
SERVICES {{
  imap cmd="{imapd} -C {folder}/imapd.conf" listen="127.0.0.1:{port}" prefork=0 maxchild=20
}}
EVENTS {{
}}
"""


@contextlib.contextmanager
def running_cyrus() -> Iterator[imaplib.IMAP4]:
    """A logged-in client of a server that ends with the block. Skips without its programs, and where not root."""
    imapd = next((path for path in (PROGRAMS / "imapd", UNPACKED) if path.exists()), None)
    adder = shutil.which("saslpasswd2")
    if imapd is None or adder is None or not (PROGRAMS / "master").exists():
        missing("no Cyrus: .ci/parts installs it")
    if os.getuid():
        missing("Cyrus is started by root")
    with folder_of_server("cyrus") as folder:
        (port,) = free_ports(1)
        words = [adder, "-c", "-p", "-f", str(folder / "sasldb"), "-u", socket.gethostname(), LOGIN[0]]
        subprocess.run(words, input=LOGIN[1].encode(), check=True, capture_output=True)
        for name in ("config", "mail", "sieve"):
            (folder / name).mkdir()
        values = {"folder": folder, "programs": PROGRAMS, "imapd": imapd, "port": port}
        (folder / "imapd.conf").write_text(_IMAPD.format(**values))
        (folder / "cyrus.conf").write_text(_MASTER.format(**values))
        owner = pwd.getpwnam(OWNER)
        folder.chmod(0o755)
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, owner.pw_uid, owner.pw_gid)
        words = [str(PROGRAMS / "master"), "-C", str(folder / "imapd.conf"), "-M", str(folder / "cyrus.conf")]
        with subprocess.Popen([*words, "-p", str(folder / "master.pid")], stderr=subprocess.DEVNULL) as process:
            try:
                yield _client(port)
            finally:
                process.terminate()


def answer(client: imaplib.IMAP4, command: bytes) -> bytes:
    """The untagged lines that a command is answered with, as they came. Raises AssertionError when it is refused."""
    client.send(b"ask " + command + b"\r\n")
    lines = []
    while not (line := client.readline()).startswith(b"ask "):
        lines.append(line)
    assert line.startswith(b"ask OK"), (command, line)
    return b"".join(lines)


def _client(port: int) -> imaplib.IMAP4:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            client = imaplib.IMAP4("127.0.0.1", port, timeout=READY_SECONDS)
            break
        except OSError:
            assert time.monotonic() < deadline, "Cyrus does not listen"
            time.sleep(0.1)
    client.login(*LOGIN)
    return client
