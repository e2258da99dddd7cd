"""swaks: submission with AUTH and STARTTLS, attachments, and delivery by SMTP and LMTP."""

import email
import email.policy
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest
from tests.clients.program import output, run

from posthorn_testkit.cluster import ClusterUnderTest

pytestmark = [pytest.mark.cluster, pytest.mark.peers]
AUTH_FAILED = 28


def newest(cluster: ClusterUnderTest, account: tuple[str, str]) -> EmailMessage:
    client = cluster.imap(account, node=2)
    client.select()
    (_, content), _ = client.fetch("*", "(BODY.PEEK[])")[1]
    client.logout()
    return email.message_from_bytes(content, _class=EmailMessage, policy=email.policy.default)


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ("submission", ("--tls", "--auth", "PLAIN")),
        ("submission", ("--tls", "--auth", "LOGIN")),
        ("submission", ("--auth", "PLAIN")),
        ("submissions", ("--tls-on-connect", "--auth", "PLAIN", "--pipeline")),
    ],
)
def test_it_submits_with_attachments(
    cluster: ClusterUnderTest,
    new_account: Callable[[], tuple[str, str]],
    tmp_path: Path,
    protocol: str,
    words: tuple[str, ...],
) -> None:
    sender, recipient = new_account(), new_account()
    host, port = cluster.address(protocol, 1)
    picture = bytes(range(256)) * 300
    (tmp_path / "picture.png").write_bytes(picture)
    (tmp_path / "notes.txt").write_text("Grüße\n", encoding="utf-8")
    said = output(
        *("swaks", "--server", host, "--port", str(port), "--ehlo", "client.example.net", *words),
        *("--auth-user", sender[0], "--auth-password", sender[1]),
        *("--from", sender[0], "--to", recipient[0], "--header", "Subject: with parts", "--body", "see below"),
        *("--attach-type", "image/png", "--attach", "@picture.png"),
        *("--attach-type", "text/plain; charset=utf-8", "--attach", "@notes.txt"),
        home=tmp_path,
    )
    assert "250 2.6.0" in said
    found = newest(cluster, recipient)
    assert found["Subject"] == "with parts"
    parts = list(found.iter_attachments())
    assert [part.get_content_type() for part in parts] == ["image/png", "text/plain"]
    assert parts[0].get_content() == picture
    assert parts[1].get_content().strip() == "Grüße"


@pytest.mark.parametrize(("protocol", "word"), [("smtp", "ESMTP"), ("lmtp", "LMTP")])
def test_it_delivers(
    cluster: ClusterUnderTest, new_account: Callable[[], tuple[str, str]], tmp_path: Path, protocol: str, word: str
) -> None:
    recipients = [new_account(), new_account()]
    host, port = cluster.address(protocol, 1)
    output(
        *("swaks", "--server", host, "--port", str(port), "--protocol", word, "--ehlo", "client.example.net"),
        *("--from", "x@example.net", "--to", ",".join(name for name, _ in recipients), "--body", f"by {word}"),
        home=tmp_path,
    )
    assert [newest(cluster, each).get_content().strip() for each in recipients] == [f"by {word}"] * 2


def test_a_wrong_password_is_told(cluster: ClusterUnderTest, account: tuple[str, str], tmp_path: Path) -> None:
    host, port = cluster.address("submission", 1)
    done = run(
        *("swaks", "--server", host, "--port", str(port), "--ehlo", "client.example.net", "--tls", "--auth", "PLAIN"),
        *("--auth-user", account[0], "--auth-password", "wrong", "--from", account[0], "--to", account[0]),
        home=tmp_path,
    )
    assert done.returncode == AUTH_FAILED, done.stdout
    assert "535 5.7.8" in done.stdout


def test_mail_for_others_is_not_relayed_without_a_login(cluster: ClusterUnderTest, tmp_path: Path) -> None:
    host, port = cluster.address("smtp", 1)
    done = run(
        *("swaks", "--server", host, "--port", str(port), "--ehlo", "client.example.net"),
        *("--from", "x@example.net", "--to", "y@example.com"),
        home=tmp_path,
    )
    assert done.returncode != 0
    assert "<** 5" in done.stdout
