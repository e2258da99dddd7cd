"""`posthorn ban` on a real database, as a person types it."""

import json

import pytest
from typer.testing import CliRunner

from posthorn_ctl.__main__ import app
from posthorn_ctl.cluster.errors import ClusterError

pytestmark = pytest.mark.postgres


def said(dsn: str, *words: str) -> str:
    done = CliRunner().invoke(app, ["ban", *words, "--dsn", dsn])
    if done.exception is not None:
        raise done.exception
    return done.output


def test_a_ban_from_its_making_to_its_end(postgres_dsn: str) -> None:
    assert said(postgres_dsn, "list") == "no network is banned\n"
    assert json.loads(said(postgres_dsn, "add", "192.0.2.7", "--for", "1h", "--json")) == {
        "banned": "192.0.2.7/32", "seconds": 3600,
    }  # fmt: skip
    assert said(postgres_dsn, "add", "2001:db8::1/64", "--reason", "spam") == (
        "2001:db8::/64 is banned until the ban is lifted\n"
    )
    first, second = json.loads(said(postgres_dsn, "list", "--json"))
    assert (first["network"], first["source"], second["until"], second["reason"]) == (
        "192.0.2.7/32", "operator", None, "spam",
    )  # fmt: skip
    assert "2001:db8::/64  until it is lifted  spam (operator)" in said(postgres_dsn, "list")
    assert said(postgres_dsn, "remove", "192.0.2.7") == "192.0.2.7/32 is not banned any more\n"
    said(postgres_dsn, "remove", "2001:db8::/64")


@pytest.mark.parametrize("words", [("add", "rubbish"), ("add", "192.0.2.7", "--for", "soon"), ("remove", "192.0.2.7")])
def test_mistakes_are_told(postgres_dsn: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ClusterError, match=r"write it such as|is not banned"):
        said(postgres_dsn, *words)
