"""`posthorn reload`: what stands in the files of a running cluster holds for clients that come afterwards."""

import smtplib

import pytest

from posthorn_testkit.cluster import ClusterUnderTest, posthorn, until

pytestmark = pytest.mark.cluster


def size(cluster: ClusterUnderTest, node: int) -> str:
    with smtplib.SMTP(*cluster.address("smtp", node), timeout=60) as client:
        client.ehlo()
        return client.esmtp_features["size"]


def test_a_node_takes_its_file_and_a_wrong_one_is_told_and_changes_nothing(cluster: ClusterUnderTest) -> None:
    path = cluster.folder / "nodes" / "1" / "node.toml"
    written = path.read_text()
    before = size(cluster, 1)
    try:
        path.write_text(f'{written}\n[smtp-in]\nmax-message-size = "2MB"\n')
        assert posthorn("reload", "--data", str(cluster.folder)).returncode == 0
        until("node 1 takes the size of its file", lambda: size(cluster, 1) == str(2 << 20))
        assert size(cluster, 2) == before
        path.write_text(f"{written}\n[servr]\n")
        refused = posthorn("reload", "--data", str(cluster.folder))
        assert (refused.returncode, "servr" in refused.stderr) == (2, True)
        assert size(cluster, 1) == str(2 << 20)
    finally:
        path.write_text(written)
        assert posthorn("reload", "--data", str(cluster.folder)).returncode == 0
    until("node 1 is as it was", lambda: size(cluster, 1) == before)
