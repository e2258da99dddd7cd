"""`posthorn account app-password` on a real database, as a person types it."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from posthorn_ctl.__main__ import app
from posthorn_ctl.cluster.errors import ClusterError
from posthorn_model.errors import AuthenticationFailed
from posthorn_storage import Storage, StorageSettings

pytestmark = pytest.mark.postgres
ANN = "ann@example.org"


def said(dsn: str, *words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--dsn", dsn])
    if done.exception is not None:
        raise done.exception
    return done.output.strip()


def log_in(dsn: str, password: str, service: str) -> str:
    async def work() -> str:
        storage = await Storage.open(StorageSettings(dsn=dsn, blobs=None, pool_size=2))
        try:
            return (await storage.directory.authenticate(ANN, password, "192.0.2.1", service)).address
        finally:
            await storage.close()

    return asyncio.run(work())


def test_from_its_making_to_its_end(postgres_dsn: str) -> None:
    said(postgres_dsn, "domain", "add", "example.org")
    said(postgres_dsn, "account", "add", ANN, "--password", "chosen one")
    command = ("account", "app-password")
    assert said(postgres_dsn, *command, "list", ANN) == "no app password"
    made = json.loads(
        said(postgres_dsn, *command, "add", ANN, "phone", "--services", "imap, smtp", "--for", "90d", "--json")
    )
    assert (made["name"], made["services"]) == ("phone", ["imap", "smtp"])
    assert log_in(postgres_dsn, made["password"], "smtp") == ANN
    with pytest.raises(AuthenticationFailed):
        log_in(postgres_dsn, made["password"], "dav")
    shown = said(postgres_dsn, *command, "list", ANN)
    assert shown.startswith(f"{made['id']}  phone (imap,smtp)  made 2")
    assert made["password"] not in shown + said(postgres_dsn, *command, "list", ANN, "--json")
    assert len(said(postgres_dsn, *command, "add", ANN, "laptop")) == 23
    said(postgres_dsn, *command, "remove", ANN, str(made["id"]))
    (left,) = json.loads(said(postgres_dsn, *command, "list", ANN, "--json"))
    assert (left["name"], left["expires_at"]) == ("laptop", None)
    with pytest.raises(ClusterError, match="telnet is none of smtp"):
        said(postgres_dsn, *command, "add", ANN, "x", "--services", "telnet")
    said(postgres_dsn, "account", "delete", ANN, "--yes")
