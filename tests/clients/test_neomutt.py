"""neomutt in a terminal: reads, flags, moves, deletes, and keeps a cache by QRESYNC."""

import json
import os
import pty
import select
import time
from pathlib import Path

import pytest
from tests.clients.mailboxes import Account, Seen
from tests.clients.program import program

from posthorn_testkit.cluster import ClusterUnderTest

pytestmark = [pytest.mark.cluster, pytest.mark.peers]
SECONDS = 60
CONFIG = """
set folder="imap://{host}:{port}/"
set spoolfile="+INBOX" record="+Sent" postponed="+Drafts" trash=""
set imap_user="{name}" imap_pass="{password}" ssl_starttls=no ssl_force_tls=no
set imap_condstore=yes imap_qresync=yes
set header_cache="{home}/cache" message_cachedir="{home}/bodies"
set confirmappend=no confirmcreate=no delete=yes move=no wait_key=no quit=yes resolve=no sleep_time=0 timeout=1
set debug_level=5 debug_file="{home}/talk"
push {keys}
"""


class Terminal:
    """neomutt with a home of its own: each run presses keys and returns what it said to the server."""

    def __init__(self, home: Path, address: tuple[str, int], account: Account) -> None:
        self.home = home
        self._address = address
        self._account = account

    def press(self, keys: str) -> str:
        """Run it until it ends. Raises AssertionError when it hangs."""
        host, port = self._address
        name, password = self._account
        values = {"host": host, "port": port, "name": name, "password": password, "home": self.home}
        (self.home / "rc").write_text(CONFIG.format(**values, keys=json.dumps(keys)))
        path = program("neomutt")
        (self.home / "talk0").unlink(missing_ok=True)
        (self.home / "cache").mkdir(exist_ok=True)
        child, terminal = pty.fork()
        if not child:
            os.environ.update(TERM="xterm", HOME=str(self.home), LC_ALL="C.UTF-8")
            os.execv(path, ["neomutt", "-n", "-F", str(self.home / "rc")])
        try:
            self._watch(child, terminal)
        finally:
            os.close(terminal)
        return (self.home / "talk0").read_text(errors="replace")

    def _watch(self, child: int, terminal: int) -> None:
        screen, deadline = b"", time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.05)[0]:
                try:
                    screen += os.read(terminal, 65536)
                except OSError:  # the other end of the terminal is closed
                    break
        else:
            os.kill(child, 9)
            os.waitpid(child, 0)
            raise AssertionError(f"neomutt did not end; its screen: {screen[-2000:]!r}")
        _, status = os.waitpid(child, 0)
        assert status == 0, screen[-2000:]


def test_it_reads_flags_moves_and_deletes(cluster: ClusterUnderTest, account: Account, tmp_path: Path) -> None:
    far = Seen(cluster, account, 2)
    far.append("INBOX", "first", "second", "third", "fourth")
    mutt = Terminal(tmp_path, cluster.address("imap", 1), account)
    mutt.press(
        f"<first-entry><pipe-message>cat>>{tmp_path}/read<enter><flag-message><display-message><exit>"
        "<jump>2<enter><delete-message><jump>3<enter><save-message>=Trips<enter><sync-mailbox><quit>"
    )
    assert (tmp_path / "read").read_text().endswith("\n\nabout first\n")
    # "old" is its keyword for what was there and not read.
    assert far.flags("INBOX") == {"first": {"\\Flagged", "\\Seen"}, "fourth": {"old"}}
    assert set(far.flags("Trips")) == {"third"}


def test_it_resynchronizes_its_cache(cluster: ClusterUnderTest, account: Account, tmp_path: Path) -> None:
    far = Seen(cluster, account, 2)
    far.append("INBOX", "first", "second", "third")
    mutt = Terminal(tmp_path, cluster.address("imap", 1), account)
    mutt.press("<quit>")
    far.store("INBOX", "second", "+FLAGS", "(\\Deleted)")
    far.store("INBOX", "first", "+FLAGS", "(\\Flagged)")
    far.append("INBOX", "fourth")
    talk = mutt.press(
        f"<tag-pattern>~F<enter><tag-prefix><pipe-message>cat>>{tmp_path}/flagged<enter><untag-pattern>~A<enter>"
        f"<limit>!~F<enter><tag-pattern>~A<enter><tag-prefix><pipe-message>cat>>{tmp_path}/others<enter><quit>"
    )
    assert "VANISHED)" in talk, "it asked for what has changed since it was there"
    assert "* VANISHED (EARLIER) 2" in talk
    assert (tmp_path / "flagged").read_text().count("Subject: ") == 1
    assert "about first" in (tmp_path / "flagged").read_text()
    others = (tmp_path / "others").read_text()
    assert "about third" in others
    assert "about fourth" in others
    assert "about second" not in others
