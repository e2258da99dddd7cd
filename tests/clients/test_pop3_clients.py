"""POP3 clients: fetchmail, getmail and mpop fetch what they have not had yet, and remove it where told to."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.clients.mailboxes import Account, Seen, letter
from tests.clients.program import program, run

from posthorn_testkit.cluster import ClusterUnderTest

pytestmark = [pytest.mark.cluster, pytest.mark.peers]
NOTHING_NEW = 1
"""How fetchmail ends when there was nothing to fetch."""

FETCHMAIL = """
poll {host} protocol pop3 service {port} uidl auth password
  user "{name}" password "{password}" sslproto "" no rewrite {keep} mda "cat >> {home}/got"
"""
GETMAIL = """
[retriever]
type = SimplePOP3Retriever
server = {host}
port = {port}
username = {name}
password = {password}
[destination]
type = MDA_external
path = /bin/sh
arguments = ("-c", "cat >> {home}/got")
allow_root_commands = true
unixfrom = false
[options]
read_all = false
delete = {delete}
received = false
delivered_to = false
"""
MPOP = """
account default
host {host}
port {port}
user {name}
password {password}
auth user
tls off
received_header off
delivery mbox {home}/got
uidls_file {home}/uids
keep {keep}
"""


def fetchmail(home: Path, values: dict[str, object], *, keep: bool) -> None:
    (home / "fetchmailrc").write_text(FETCHMAIL.format(home=home, keep="keep" if keep else "no keep", **values))
    (home / "fetchmailrc").chmod(0o600)
    words = ("--fetchmailrc", f"{home}/fetchmailrc", "--idfile", f"{home}/uids", "--pidfile", f"{home}/pid")
    done = run("fetchmail", *words, "--nosyslog", home=home)
    assert done.returncode in (0, NOTHING_NEW), done.stdout + done.stderr


def getmail(home: Path, values: dict[str, object], *, keep: bool) -> None:
    (home / "getmailrc").write_text(GETMAIL.format(home=home, delete=str(not keep).lower(), **values))
    done = run("getmail", f"--getmaildir={home}", "--rcfile=getmailrc", home=home)
    assert done.returncode == 0, done.stdout + done.stderr


def mpop(home: Path, values: dict[str, object], *, keep: bool) -> None:
    (home / "mpoprc").write_text(MPOP.format(home=home, keep="on" if keep else "off", **values))
    (home / "mpoprc").chmod(0o600)
    done = run("mpop", "--file", str(home / "mpoprc"), home=home)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("client", [fetchmail, getmail, mpop])
def test_it_fetches_what_is_new_and_removes_when_told(
    cluster: ClusterUnderTest, account: Account, tmp_path: Path, client: Callable[..., None]
) -> None:
    program(client.__name__)
    far = Seen(cluster, account, 2)
    host, port = cluster.address("pop3", 1)
    values = {"host": host, "port": port, "name": account[0], "password": account[1]}

    def got() -> list[bytes]:
        """The words of the messages of this round; without them it is quiet."""
        path = tmp_path / "got"
        content = path.read_bytes() if path.exists() else b""
        path.unlink(missing_ok=True)
        for word in ("first", "second", "third"):
            whole = letter(word).replace(b"\r\n", b"\n")
            assert (b"Subject: %s\n" % word.encode() in content) == (whole.partition(b"\n\n")[2] in content)
        return [line.removeprefix(b"about ") for line in content.splitlines() if line.startswith(b"about ")]

    far.append("INBOX", "first", "second")
    client(tmp_path, values, keep=True)
    assert got() == [b"first", b"second"]
    client(tmp_path, values, keep=True)
    assert got() == []
    far.append("INBOX", "third")
    client(tmp_path, values, keep=True)
    assert got() == [b"third"]
    assert set(far.flags("INBOX")) == {"first", "second", "third"}
    far.append("INBOX", "fourth")
    client(tmp_path, values, keep=False)
    assert b"fourth" in got()
    assert "fourth" not in far.flags("INBOX")
