"""curl: mail in by SMTP, and out by IMAP."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.clients.program import output, run

from posthorn_testkit.cluster import ClusterUnderTest

pytestmark = [pytest.mark.cluster, pytest.mark.peers]
LOGIN_DENIED = 67
MESSAGE = "From: a@example.net\r\nTo: b@example.org\r\nSubject: by curl\r\n\r\nsent by curl\r\n.\r\n.. dots\r\n"


def at(cluster: ClusterUnderTest, scheme: str, protocol: str, node: int | None = None) -> str:
    host, port = cluster.address(protocol, node)
    return f"{scheme}://{host}:{port}"


@pytest.fixture
def letter(tmp_path: Path) -> str:
    path = tmp_path / "letter.eml"
    path.write_bytes(MESSAGE.encode())
    return str(path)


@pytest.mark.parametrize(
    ("scheme", "protocol", "security"),
    [
        ("smtp", "smtp", ()),
        ("smtp", "submission", ("--ssl-reqd", "--login-options", "AUTH=PLAIN")),
        ("smtp", "submission", ("--ssl-reqd", "--login-options", "AUTH=LOGIN")),
        ("smtps", "submissions", ()),
    ],
)
def test_it_sends(
    cluster: ClusterUnderTest,
    new_account: Callable[[], tuple[str, str]],
    tmp_path: Path,
    scheme: str,
    protocol: str,
    security: tuple[str, ...],
) -> None:
    sender, recipient = new_account(), new_account()
    # A submission is from whom has logged in, also by what it says of itself.
    content, letter = MESSAGE.replace("a@example.net", sender[0]).encode(), tmp_path / "letter.eml"
    letter.write_bytes(content)
    login = ("--user", ":".join(sender)) if protocol.startswith("submission") else ()
    words = ("--mail-from", sender[0], "--mail-rcpt", recipient[0], "--upload-file", str(letter))
    output("curl", "-sSk", *security, *login, at(cluster, scheme, protocol, 1), *words, home=tmp_path)
    client = cluster.imap(recipient, node=2)
    client.select()
    (_, arrived), _ = client.fetch("1", "(BODY.PEEK[])")[1]
    assert arrived.endswith(content)
    client.logout()


def test_it_reads_searches_stores_and_appends(
    cluster: ClusterUnderTest, account: tuple[str, str], tmp_path: Path, letter: str
) -> None:
    url = at(cluster, "imaps", "imaps")

    def curl(path: str, *words: str) -> str:
        return output("curl", "-sSk", "--user", ":".join(account), f"{url}/{path}", *words, home=tmp_path)

    for _ in range(3):
        curl("INBOX", "--upload-file", letter)
    boxes = curl("")
    assert all(f'"{name}"' in boxes for name in ("INBOX", "Sent", "Drafts", "Trash", "Junk"))
    assert "\\Sent" in boxes
    assert curl("INBOX?SUBJECT%20curl") == "* SEARCH 1 2 3\r\n"
    assert curl("INBOX;UID=1") == MESSAGE
    assert curl("INBOX;UID=1;SECTION=TEXT") == MESSAGE.partition("\r\n\r\n")[2]
    assert "Subject: by curl" in curl("INBOX;MAILINDEX=2;SECTION=HEADER.FIELDS%20(SUBJECT)")
    assert "FLAGS (\\Deleted" in curl("INBOX", "--request", "STORE 2 +FLAGS (\\Deleted)")
    assert curl("INBOX", "--request", "EXPUNGE") == "* 2 EXPUNGE\r\n"
    assert curl("INBOX", "--request", "UID SEARCH ALL") == "* SEARCH 1 3\r\n"
    assert "MESSAGES 2" in curl("", "--request", "STATUS INBOX (MESSAGES UNSEEN)")


def test_it_upgrades_to_tls_before_it_logs_in(
    cluster: ClusterUnderTest, account: tuple[str, str], tmp_path: Path
) -> None:
    words = ("--ssl-reqd", "--user", ":".join(account), at(cluster, "imap", "imap"))
    done = run("curl", "-svk", *words, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.index("STARTTLS") < done.stderr.index("AUTHENTICATE PLAIN")


@pytest.mark.parametrize(("scheme", "protocol"), [("imaps", "imaps"), ("smtps", "submissions")])
def test_a_wrong_password_is_told(
    cluster: ClusterUnderTest, account: tuple[str, str], tmp_path: Path, letter: str, scheme: str, protocol: str
) -> None:
    words = ("--mail-from", account[0], "--mail-rcpt", account[0], "-T", letter) if scheme == "smtps" else ()
    done = run("curl", "-sSk", "-u", f"{account[0]}:wrong", at(cluster, scheme, protocol), *words, home=tmp_path)
    assert done.returncode == LOGIN_DENIED, done.stderr
