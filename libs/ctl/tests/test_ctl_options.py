"""The words for other parts on the command line of `posthorn up`."""

import pytest

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.cluster.options import S3Place, bus_choice, postgres_choice, s3_place, scale_choice


def test_an_s3_url_names_server_bucket_and_keys() -> None:
    assert s3_place("http://key:s%2Fcret@127.0.0.1:7070/mail?region=eu-1") == S3Place(
        "http://127.0.0.1:7070", "mail", "eu-1", "key", "s/cret"
    )


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a:b@h/c",
        "http://h/bucket",
        "http://a:b@h",
        "http://a:b@h/c/d",
        "http://a:b@h:x/c",
        "mail",
        "http://a:b@/c",
    ],
)
def test_a_url_that_is_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(ClusterError, match="--s3"):
        s3_place(url)


@pytest.mark.parametrize("text", ["kafka", "peer-to-peer", "127.0.0.1:9092", "broker.example:9092"])
def test_a_bus_is_accepted(text: str) -> None:
    assert bus_choice(text) == text


@pytest.mark.parametrize("text", ["rabbit", "127.0.0.1", "*:9092", ":9092", "host:99999"])
def test_what_is_no_bus_is_refused(text: str) -> None:
    with pytest.raises(ClusterError, match="--bus"):
        bus_choice(text)


def test_a_refused_dsn_is_not_shown() -> None:
    with pytest.raises(ClusterError) as refusal:
        postgres_choice("mysql://me:hunter2@host/db")
    assert "hunter2" not in str(refusal.value)
    assert postgres_choice("postgresql://me:hunter2@host/db")


def test_scale_is_counted_by_service() -> None:
    assert scale_choice(["imap=4", "jmap=0"]) == {"imap": 4, "jmap": 0}


@pytest.mark.parametrize("text", ["imap", "imap=", "imap=x", "imap=-1", "web=2", "imap=1000"])
def test_a_bad_scale_is_refused(text: str) -> None:
    with pytest.raises(ClusterError, match="--scale"):
        scale_choice([text])
