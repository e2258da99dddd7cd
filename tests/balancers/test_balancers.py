"""HAProxy (PROXY protocol 2) and nginx (PROXY protocol 1), both for real, before two nodes of a cluster."""

import base64
import http.client
import imaplib
import json
import os
import signal
import smtplib
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from tests.balancers.conftest import Front, description

from posthorn_testkit.cluster import ClusterUnderTest, posthorn, until

pytestmark = [pytest.mark.cluster, pytest.mark.postgres, pytest.mark.timeout(400)]
NODES = {"node1.localhost", "node2.localhost"}


def connected(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0))


def greeting(front: Front, protocol: str, source: str = "127.0.0.1") -> str:
    """The host that greets, "" when the connection is lost before; a client that retries once hears somebody."""
    with closing(connected(front.ports[protocol], source)) as client:
        try:
            said = client.recv(400).decode()
        except ConnectionError:
            return ""
        return next((host for host in NODES if host in said), "")


def heard(front: Front, protocol: str) -> set[str]:
    """Who greets in eight connections."""
    return {greeting(front, protocol) or greeting(front, protocol) for _ in range(8)}


def logged(cluster: ClusterUnderTest, service: str) -> Iterator[dict[str, object]]:
    for path in (cluster.folder / "logs").glob(f"node*-{service}.log"):
        for line in path.read_text().splitlines():
            if line.startswith("{"):
                yield json.loads(line)


def test_mail_goes_through_to_both_nodes(cluster: ClusterUnderTest, fronts: list[Front]) -> None:
    (name, password), *_ = cluster.accounts
    for front in fronts:
        greeted: list[str] = []

        def sent(front: Front = front, greeted: list[str] = greeted) -> bool:
            """One more; whether there are four at least, and both nodes have had some."""
            with smtplib.SMTP("127.0.0.1", front.ports["smtp"], timeout=60, source_address=("127.0.0.7", 0)) as client:
                host = client.ehlo()[1].split()[0].decode()
                client.sendmail("e@f.net", [name], f"Subject: {front.kind} {len(greeted)}\r\n\r\nHello.\r\n")
            greeted.append(host)
            return len(greeted) >= 4 and set(greeted) == NODES

        until(f"{front.kind} brings mail to both nodes", sent)
        with closing(connected(front.ports["imap"], "127.0.0.7")) as raw, raw.makefile("rwb") as client:
            client.readline()
            client.write(f'a LOGIN {name} {password}\r\nb SELECT INBOX\r\nc SEARCH SUBJECT "{front.kind}"\r\n'.encode())
            client.flush()
            found = next(line for line in client if line.startswith(b"* SEARCH"))
        assert len(found.split()) == 2 + len(greeted), front.kind


def test_tls_ends_at_the_nodes(fronts: list[Front]) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for front in fronts:
        for protocol in ("imaps", "submissions"):
            with closing(connected(front.ports[protocol])) as raw, context.wrap_socket(raw) as client:
                said = client.recv(400).decode()
                assert any(host in said for host in NODES), (front.kind, protocol)


def test_logs_name_the_client_and_not_the_balancer(cluster: ClusterUnderTest, fronts: list[Front]) -> None:
    def lines_on(address: str) -> int:
        return sum(line.get("remote") == address for line in logged(cluster, "imap"))

    balancers = lines_on("127.0.0.1")
    for number, front in enumerate(fronts):
        source = f"127.0.1.{number + 1}"
        with closing(connected(front.ports["imap"], source)) as raw, raw.makefile("rwb") as client:
            client.readline()
            client.write(b"a LOGIN nobody@example.org wrong\r\n")
            client.flush()
            assert client.readline().startswith(b"a NO")
        until(f"{front.kind} told of {source}", lambda: lines_on(source) > 0)  # noqa: B023
    assert lines_on("127.0.0.1") == balancers


def test_limits_count_clients_whatever_they_say_of_themselves(fronts: list[Front]) -> None:
    def login(front: Front, source: str, claimed: str) -> int:
        with closing(
            http.client.HTTPConnection("127.0.0.1", front.ports["http"], timeout=30, source_address=(source, 0))
        ) as client:
            secret = base64.b64encode(b"nobody@example.org:wrong").decode()
            headers = {"Authorization": f"Basic {secret}", "X-Forwarded-For": claimed}
            client.request("GET", "/jmap/session", headers=headers)
            return client.getresponse().status

    for number, front in enumerate(fronts):
        source, other = f"127.0.2.{number + 1}", f"127.0.3.{number + 1}"
        answers = [login(front, source, f"192.0.2.{attempt}") for attempt in range(6)]
        assert answers == [401] * 3 + [429] * 3, front.kind
        assert login(front, other, source) == 401, front.kind


class Clients(threading.Thread):
    """Greeted over IMAP and sending mail through each balancer in turn, again and again, retrying once."""

    def __init__(self, fronts: list[Front], receiver: str) -> None:
        super().__init__()
        self._fronts, self._receiver = fronts, receiver
        self._over = threading.Event()
        self.lost: list[str] = []
        self.acknowledged: list[str] = []

    def run(self) -> None:
        number = 0
        while not self._over.is_set():
            for front in self._fronts:
                number += 1
                if not (greeting(front, "imap") or greeting(front, "imap")):
                    self.lost.append(f"{front.kind}: not greeted")
                if self._sends(front, f"n{number}") or self._sends(front, f"n{number}"):
                    self.acknowledged.append(f"n{number}")
                else:
                    self.lost.append(f"{front.kind}: not sent")

    def _sends(self, front: Front, mark: str) -> bool:
        message = f"Message-ID: <{mark}@f.net>\r\nSubject: under load\r\nKeywords: {mark}\r\n\r\nHello.\r\n"
        try:
            # Closed and not quit: what counts is the reply to the message.
            with closing(smtplib.SMTP("127.0.0.1", front.ports["smtp"], timeout=30)) as client:
                client.sendmail("e@f.net", [self._receiver], message)
        except (OSError, smtplib.SMTPException):
            return False
        return True

    def end(self) -> None:
        self._over.set()
        self.join()


def test_a_node_is_drained_and_comes_back_under_load(cluster: ClusterUnderTest, fronts: list[Front]) -> None:
    one, two = description(cluster.folder, 1, {}), description(cluster.folder, 2, {})
    receiver = cluster.accounts[1]
    clients = Clients(fronts, receiver[0])
    clients.start()
    try:
        done = posthorn("topology", "apply", str(one), "--data", str(cluster.folder))
        assert done.returncode == 0, done.stderr
        for front in fronts:
            assert heard(front, "imap") == heard(front, "smtp") == {"node1.localhost"}, front.kind
        done = posthorn("topology", "apply", str(two), "--data", str(cluster.folder))
        assert done.returncode == 0, done.stderr
        for front in fronts:
            until(f"{front.kind} sends clients to node 2 again", lambda: heard(front, "imap") == NODES)  # noqa: B023
    finally:
        clients.end()
    assert not clients.lost
    assert len(clients.acknowledged) > 10
    with imaplib.IMAP4("127.0.0.1", fronts[0].ports["imap"], timeout=60) as reader:
        reader.login(*receiver)
        reader.select("INBOX")
        _, found = reader.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (KEYWORDS)])")
    marks = Counter(part[1].decode().partition(": ")[2].strip() for part in found if isinstance(part, tuple))
    assert {mark: marks[mark] for mark in clients.acknowledged} == dict.fromkeys(clients.acknowledged, 1)


@contextmanager
def dead(cluster: ClusterUnderTest, node: int) -> Iterator[None]:
    """The node is dead while the block runs, and there again after it."""
    supervisor = cluster.description["pid"]
    # Held, so that it does not start them again at once.
    os.kill(supervisor, signal.SIGSTOP)
    try:
        for service in ("smtp-in", "imap", "jmap"):
            cluster.kill(service, node)
        yield
    finally:
        os.kill(supervisor, signal.SIGCONT)
    until(f"node {node} is there again", cluster.is_ready)


def test_a_killed_node_is_left_out_and_another_region_serves_its_clients(
    cluster: ClusterUnderTest, fronts: list[Front], northern_fronts: list[Front]
) -> None:
    for front in northern_fronts:
        until(f"{front.kind} knows its own server", lambda: heard(front, "imap") == {"node1.localhost"})  # noqa: B023
    with dead(cluster, 1):
        for front in fronts:
            for protocol in ("imap", "smtp"):
                until(
                    f"{front.kind} leaves node 1 out",
                    lambda: heard(front, protocol) == {"node2.localhost"},  # noqa: B023
                )
        for front in northern_fronts:
            until(f"{front.kind} goes south", lambda: heard(front, "imap") == {"node2.localhost"})  # noqa: B023
    for front in fronts:
        until(f"{front.kind} sends clients to node 1 again", lambda: heard(front, "imap") == NODES)  # noqa: B023
    for front in northern_fronts:
        until(f"{front.kind} is at home again", lambda: heard(front, "imap") == {"node1.localhost"})  # noqa: B023
