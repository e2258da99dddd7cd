"""offlineimap: a tree of Maildir folders and an account, in both directions, in several connections at once."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.clients.mailboxes import Account, Seen, letter, subject_of
from tests.clients.program import output

from posthorn_testkit.cluster import ClusterUnderTest

pytestmark = [pytest.mark.cluster, pytest.mark.peers]
CONFIG = """
[general]
accounts = one
metadata = {home}/state
ui = basic
[Account one]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {home}/mail
[Repository far]
type = IMAP
remotehost = {host}
remoteport = {port}
remoteuser = {name}
remotepass = {password}
auth_mechanisms = PLAIN
ssl = no
starttls = no
maxconnections = 3
"""


@pytest.fixture
def sync(cluster: ClusterUnderTest, account: Account, tmp_path: Path) -> Callable[[], None]:
    """Bring the folder `mail` and the account together, once."""
    host, port = cluster.address("imap", 1)
    (tmp_path / "mail").mkdir()
    text = CONFIG.format(home=tmp_path, host=host, port=port, name=account[0], password=account[1])
    (tmp_path / "offlineimaprc").write_text(text)

    def once() -> None:
        output("offlineimap", "-c", str(tmp_path / "offlineimaprc"), "-o", home=tmp_path)

    return once


def files(folder: Path) -> dict[str, Path]:
    return {subject_of(path.read_bytes()): path for path in folder.glob("[cn][ue][rw]/*")}


def flags(folder: Path) -> dict[str, str]:
    return {subject: path.name.rpartition(":2,")[2] for subject, path in files(folder).items()}


def test_server_to_maildir_and_back(
    cluster: ClusterUnderTest, account: Account, tmp_path: Path, sync: Callable[[], None]
) -> None:
    far, mail = Seen(cluster, account, 2), tmp_path / "mail"
    far.append("INBOX", "first", "second", "third")
    far.append("Archive", "task", flags=r"(\Seen \Answered)")
    sync()
    assert flags(mail / "INBOX") == {"first": "", "second": "", "third": ""}
    assert flags(mail / "Archive") == {"task": "RS"}
    assert files(mail / "INBOX")["first"].read_bytes() == letter("first").replace(b"\r\n", b"\n")

    # Flags and a removal, a new message and a new folder here; a removal, a flag and a message there.
    path = files(mail / "INBOX")["first"]
    path.rename(mail / "INBOX" / "cur" / (path.name.partition(":2,")[0] + ":2,FS"))
    files(mail / "INBOX")["second"].unlink()
    for name in ("new", "cur", "tmp"):
        (mail / "Trips" / name).mkdir(parents=True)
    (mail / "Trips" / "cur" / "1700000000.1.client:2,S").write_bytes(letter("tickets"))
    far.store("INBOX", "third", "+FLAGS", r"(\Flagged)")
    far.store("Archive", "task", "+FLAGS", r"(\Deleted)")
    far.append("INBOX", "fourth")
    sync()
    assert far.flags("INBOX") == {"first": {"\\Seen", "\\Flagged"}, "third": {"\\Flagged"}, "fourth": set()}
    assert far.flags("Archive") == {}
    assert far.flags("Trips") == {"tickets": {"\\Seen"}}
    assert flags(mail / "INBOX") == {"first": "FS", "third": "F", "fourth": ""}
    assert flags(mail / "Archive") == {}

    # Nothing is left to do.
    before = {str(path) for path in mail.rglob("*")}
    sync()
    assert {str(path) for path in mail.rglob("*")} == before
    assert len(far.flags("INBOX")) == 3
