"""Whole clusters, one of each kind for all tests of this folder."""

from collections.abc import Iterator

import pytest

from posthorn_testkit.cluster import ClusterUnderTest, running_cluster


@pytest.fixture(scope="session")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterUnderTest]:
    """Two nodes of every service over the embedded Kafka."""
    with running_cluster(tmp_path_factory.mktemp("kafka") / "data", "--nodes", "2") as cluster:
        yield cluster
