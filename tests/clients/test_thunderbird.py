"""Thunderbird: bodies land in its offline store; it flags, moves, deletes and files, and hears of new mail by IDLE."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clients.mailboxes import Account, Seen, letter
from tests.clients.thunderbird import Marionette, running

from posthorn_testkit.cluster import ClusterUnderTest

pytestmark = [pytest.mark.cluster, pytest.mark.peers, pytest.mark.timeout(400)]

ACCOUNT = """
  const [name, host, port, password] = arguments;
  const made = MailServices.accounts.createIncomingServer(name, host, "imap");
  Object.assign(made, {port, password, socketType: 0, authMethod: 3});
  const account = MailServices.accounts.createAccount();
  account.incomingServer = made;
  const identity = MailServices.accounts.createIdentity();
  identity.email = name;
  account.addIdentity(identity);
  made.performExpand(null);
  await until(() => made.rootFolder.subFolders.length > 5);
  return made.rootFolder.subFolders.map(each => [each.name, each.flags]);
"""
LOOK = """
  const [name, count] = arguments;
  folder(name).updateFolder(null);
  await until(() => messages(name).length == count);
  await until(() => messages(name).every(each => each.flags & Ci.nsMsgMessageFlags.Offline));
  return messages(name).map(each => [each.subject, each.isRead, each.isFlagged]).sort();
"""
ACT = """
  const [read, flagged, moved, gone] = arguments;
  folder("INBOX").markMessagesRead(pick("INBOX", [read]), true);
  folder("INBOX").markMessagesFlagged(pick("INBOX", [flagged]), true);
  const listener = resolve => ({
    QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
    onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() {}, onStopCopy: resolve});
  const status = [];
  status.push(await new Promise(resolve => MailServices.copy.copyMessages(
    folder("INBOX"), pick("INBOX", [moved]), folder("Archive"), true, listener(resolve), null, false)));
  status.push(await new Promise(resolve => folder("INBOX").deleteMessages(
    pick("INBOX", [gone]), null, false, false, listener(resolve), false)));
  return status;
"""
FILE = """
  const [path] = arguments;
  const file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
  file.initWithPath(path);
  return new Promise(resolve => MailServices.copy.copyFileMessage(
    file, folder("Drafts"), null, true, Ci.nsMsgMessageFlags.Read, "", {
      QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
      onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() {}, onStopCopy: resolve}, null));
"""
WAIT = """
  const [name, count] = arguments;
  await until(() => messages(name).length == count);
  return messages(name).map(each => each.subject).sort();
"""


@pytest.fixture
def thunderbird(tmp_path: Path) -> Iterator[Marionette]:
    with running(tmp_path) as found:
        yield found


def test_it_keeps_an_account(
    cluster: ClusterUnderTest, account: Account, tmp_path: Path, thunderbird: Marionette
) -> None:
    far = Seen(cluster, account, 2)
    far.append("INBOX", "first", "second", "third", "fourth")
    host, port = cluster.address("imap", 1)
    boxes = dict(thunderbird.run(ACCOUNT, account[0], host, port, account[1]))
    assert set(boxes) == {"Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"}
    special = {"Archive": 0x4000, "Drafts": 0x400, "INBOX": 0x1000, "Junk": 0x40000000, "Sent": 0x200, "Trash": 0x100}
    assert all(boxes[name] & flag for name, flag in special.items()), "known by SPECIAL-USE"
    assert thunderbird.run(LOOK, "INBOX", 4) == [
        [word, False, False] for word in ("first", "fourth", "second", "third")
    ]
    (store,) = (tmp_path / "profile" / "ImapMail").rglob("INBOX")
    assert store.read_bytes().replace(b"\r\n", b"\n").count(letter("first").replace(b"\r\n", b"\n")) == 1

    # What it does is seen on another node.
    assert thunderbird.run(ACT, "first", "second", "third", "fourth") == [0, 0]
    assert far.flags("Archive") == {"third": set()}
    assert far.flags("Trash") == {"fourth": set()}
    (tmp_path / "draft.eml").write_bytes(letter("draft"))
    assert thunderbird.run(FILE, str(tmp_path / "draft.eml")) == 0
    assert "draft" in far.flags("Drafts")

    # What others do it hears without asking.
    far.append("INBOX", "fifth")
    assert thunderbird.run(WAIT, "INBOX", 3) == ["fifth", "first", "second"]
    assert far.flags("INBOX") == {"first": {"\\Seen"}, "second": {"\\Flagged"}, "fifth": set()}
    far.store("INBOX", "first", "+FLAGS", "(\\Deleted)")
    # Of removals it takes note when it looks at a folder again.
    assert thunderbird.run(LOOK, "INBOX", 2) == [["fifth", False, False], ["second", False, True]]
