"""Two nodes of every service: the demonstration over Kafka, and peer to peer on S3; notices with Kafka and without."""

import imaplib
import json
import smtplib
import urllib.request
from pathlib import Path

import pytest

from posthorn_model.cluster import SERVICES
from posthorn_testkit.cluster import ClusterUnderTest, posthorn, running_cluster, until
from posthorn_testkit.servers import S3

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def shown(cluster: ClusterUnderTest) -> str:
    done = posthorn("demo", "--data", str(cluster.folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_demonstration_over_kafka(kafka_cluster: ClusterUnderTest) -> None:
    assert "node 2 goes on" in shown(kafka_cluster)
    until("the killed node is back", kafka_cluster.is_ready)


def test_the_demonstration_peer_to_peer_on_s3(tmp_path: Path, s3: S3) -> None:
    host = s3.endpoint.removeprefix("http://")
    url = f"http://{s3.access_key}:{s3.secret_key}@{host}/{s3.new_bucket()}"
    with running_cluster(tmp_path / "data", "--nodes", "2", "--bus", "peer-to-peer", "--s3", url) as cluster:
        assert cluster.description["bus"]["kind"] == "peer-to-peer"
        assert cluster.description["blobs"]["kind"] == "s3"
        told = shown(cluster)
        assert "the same byte for byte" in told
        assert "node 2 goes on" in told


class Idle:
    """An IDLE connection that can wait for EXISTS."""

    def __init__(self, client: imaplib.IMAP4) -> None:
        self._client = client
        _, data = client.select("INBOX")
        self.exists = int(data[0] or b"0")
        client.send(b"i IDLE\r\n")
        assert client.readline().startswith(b"+")

    def wait(self) -> int:
        while True:
            words = self._client.readline().split()
            assert words, "the connection was closed"
            if words[2:3] == [b"EXISTS"] and int(words[1]) > self.exists:
                self.exists = int(words[1])
                return self.exists


def send(cluster: ClusterUnderTest, node: int, subject: str) -> None:
    with smtplib.SMTP(*cluster.address("smtp", node), timeout=60) as client:
        message = f"From: x@example.net\r\nTo: bob@example.org\r\nSubject: {subject}\r\n\r\nhello\r\n"
        client.sendmail("x@example.net", [cluster.accounts[1][0]], message)


def test_a_notice_crosses_nodes_over_kafka(kafka_cluster: ClusterUnderTest) -> None:
    client = kafka_cluster.imap(kafka_cluster.accounts[1], node=2)
    idle = Idle(client)
    before = idle.exists
    send(kafka_cluster, 1, "over Kafka")
    assert idle.wait() == before + 1
    client.shutdown()


def test_the_cluster_describes_itself(kafka_cluster: ClusterUnderTest) -> None:
    def described() -> dict[str, list[dict[str, object]]]:
        with urllib.request.urlopen(kafka_cluster.url("api", 1) + "/api/cluster", timeout=30) as answer:
            return json.load(answer)

    def settled() -> bool:
        found = described()
        shared = {shard["node"] for shard in found["shards"] if shard["held"]} == {1, 2}
        return shared and all(
            found["held"] for found in [*found["shards"], *(part for role in found["roles"] for part in role["parts"])]
        )

    until("every shard and role has an owner, on both nodes", settled)
    until("both nodes are there", lambda: [node["id"] for node in described()["nodes"]] == [1, 2])
    until("the bus is connected", lambda: described()["bus"]["connected"])
    assert described()["bus"]["kind"] == "kafka"


def test_every_process_of_the_cluster_answers_an_echo(kafka_cluster: ClusterUnderTest) -> None:
    asking = urllib.request.Request(kafka_cluster.url("api", 1) + "/api/cluster/echo", method="POST")

    def all_answered() -> bool:
        with urllib.request.urlopen(asking, timeout=30) as answer:
            found = json.load(answer)
        answers = {(answer["node"], answer["service"]) for answer in found["answers"]}
        return found["silent"] == [] and answers == {(node, service) for node in (1, 2) for service in SERVICES}

    # On a machine that is busy with other things one may take longer than an answer may.
    until("every process answers one question", all_answered)


def test_without_kafka_a_notice_still_comes(tmp_path: Path) -> None:
    """The self-check finds what no event told, at its next look."""
    options = ("--services", "smtp-in,imap", "--bus", "127.0.0.1:9", "--set", 'imap.timeouts.self-check="2s"')
    with running_cluster(tmp_path / "data", *options) as cluster:
        client = cluster.imap(cluster.accounts[1])
        idle = Idle(client)
        before = idle.exists
        send(cluster, 1, "without a bus")
        assert idle.wait() == before + 1
        client.shutdown()
