"""mbsync: a mailbox tree to Maildir folders and back, with flags and expunges in both directions."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.clients.mailboxes import letter
from tests.clients.program import output

from posthorn_testkit.cluster import ClusterUnderTest

pytestmark = [pytest.mark.cluster, pytest.mark.peers]
CONFIG = """
IMAPAccount cluster
Host {host}
Port {port}
User {name}
Pass {password}
SSLType None

IMAPStore there
Account cluster

MaildirStore here
Path {folder}/
Inbox {folder}/INBOX
SubFolders Verbatim

Channel all
Far :there:
Near :here:
Patterns *
Create Both
Remove Both
Expunge Both
Sync All
CopyArrivalDate yes
SyncState *
"""


@dataclass(frozen=True, slots=True)
class Synced:
    """A Maildir tree and the way to bring it and the account together."""

    home: Path

    @property
    def folder(self) -> Path:
        return self.home / "mail"

    def sync(self) -> None:
        output("mbsync", "--config", str(self.home / "mbsyncrc"), "--all", home=self.home)

    def files(self, mailbox: str) -> dict[str, Path]:
        """The messages of a folder by their subject."""
        found = {}
        for path in sorted((self.folder / mailbox).glob("[cn][ue][rw]/*")):
            subject = next(line for line in path.read_text().splitlines() if line.startswith("Subject: "))
            found[subject.removeprefix("Subject: ")] = path
        return found

    def flags(self, mailbox: str) -> dict[str, str]:
        return {subject: path.name.rpartition(":2,")[2] for subject, path in self.files(mailbox).items()}

    def flag(self, mailbox: str, subject: str, flags: str) -> None:
        path = self.files(mailbox)[subject]
        path.rename(path.parent.parent / "cur" / (path.name.partition(":2,")[0] + ":2," + flags))

    def drop(self, mailbox: str, word: str) -> None:
        """Put a new message into a folder."""
        place = self.folder / mailbox / "cur"
        (place / f"1700000000.{word}.client:2,S").write_bytes(letter(word).replace(b"\r\n", b"\n"))


@pytest.fixture
def synced(cluster: ClusterUnderTest, account: tuple[str, str], tmp_path: Path) -> Synced:
    host, port = cluster.address("imap", 1)
    text = CONFIG.format(host=host, port=port, name=account[0], password=account[1], folder=tmp_path / "mail")
    (tmp_path / "mail").mkdir()
    (tmp_path / "mbsyncrc").write_text(text)
    return Synced(tmp_path)


@pytest.fixture
def server(cluster: ClusterUnderTest, account: tuple[str, str]) -> Callable[[str], dict[str, bytes]]:
    """What another node shows of a mailbox: the FETCH line of flags by subject."""

    def shown(mailbox: str) -> dict[str, bytes]:
        client = cluster.imap(account, node=2)
        client.select(mailbox)
        _, data = client.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        client.logout()
        return {part[1].decode().strip().removeprefix("Subject: "): part[0] for part in data if isinstance(part, tuple)}

    return shown


def test_server_to_maildir_and_back(
    cluster: ClusterUnderTest, account: tuple[str, str], synced: Synced, server: Callable[[str], dict[str, bytes]]
) -> None:
    client = cluster.imap(account, node=2)
    for word in ("first", "second", "third"):
        client.append("INBOX", r"(\Flagged)" if word == "second" else "", "", letter(word))
    client.create("Work")
    client.append("Work", r"(\Seen \Answered)", "", letter("task"))
    synced.sync()
    assert synced.flags("INBOX") == {"first": "", "second": "F", "third": ""}
    assert synced.flags("Work") == {"task": "RS"}
    assert synced.files("INBOX")["first"].read_bytes().endswith(b"\n\nabout first\n")

    # New mail, flags and a removal on the side of the Maildir.
    synced.drop("INBOX", "fourth")
    synced.flag("INBOX", "first", "RS")
    synced.flag("INBOX", "third", "ST")
    synced.sync()
    shown = server("INBOX")
    assert set(shown) == {"first", "second", "fourth"}
    assert b"\\Seen" in shown["first"]
    assert b"\\Answered" in shown["first"]
    assert b"\\Seen" in shown["fourth"]
    assert set(synced.files("INBOX")) == {"first", "second", "fourth"}

    # The same on the side of the server.
    client.select("INBOX")
    client.store("2", "-FLAGS", r"(\Flagged)")
    client.store("1", "+FLAGS", r"(\Deleted)")
    client.expunge()
    client.append("INBOX", r"(\Draft)", "", letter("fifth"))
    client.logout()
    synced.sync()
    assert synced.flags("INBOX") == {"second": "", "fourth": "S", "fifth": "D"}

    # A folder made here appears there; nothing is left to do after that.
    for name in ("new", "cur", "tmp"):
        (synced.folder / "Trips" / name).mkdir(parents=True)
    synced.drop("Trips", "tickets")
    synced.sync()
    assert set(server("Trips")) == {"tickets"}
    before = {str(path) for path in synced.folder.rglob("*")}
    synced.sync()
    assert {str(path) for path in synced.folder.rglob("*")} == before
