"""Certificates of the database reach a process: at the start, on a notice, at the next look; a wrong secret is told."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from posthorn_assembly.certificates import StoredCertificates
from posthorn_node.certificates import parsed
from posthorn_node.settings import ServerSettings
from posthorn_node.tls import TlsContexts
from posthorn_storage import Storage, StorageSettings
from posthorn_storage.certificates import CertificateStore, NewCertificate
from posthorn_storage.certificates.sealing import KeyRing
from posthorn_testkit.certificates import certificate_of

pytestmark = pytest.mark.postgres
SECRET = "the secret of all nodes"
PATIENCE = 30


def new(name: str, *names: str, default: bool = False) -> NewCertificate:
    found = parsed(name, *certificate_of(*names))
    return NewCertificate(
        name=name,
        names=found.names,
        chain=found.chain,
        key=found.key,
        issuer=found.issuer,
        not_before=datetime.fromtimestamp(found.not_before, UTC),
        not_after=datetime.fromtimestamp(found.not_after, UTC),
        default=default,
    )


class Process:
    """What a process has: contexts, and its view of the database."""

    def __init__(self, storage: Storage, folder: Path, secret: str = SECRET) -> None:
        self.tls = TlsContexts(ServerSettings(hostname="mx.example.org", data=folder))
        self.tls.server_context()
        self.store = CertificateStore(storage._database, KeyRing([secret]))
        self.stored = StoredCertificates(self.store, self.tls, structlog.get_logger())

    def shown(self) -> list[str]:
        return [each.name for each in self.tls.served]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - contexts tell nobody
            await asyncio.sleep(0.01)


async def test_a_process_shows_what_is_stored_replaced_and_removed(storage: Storage, tmp_path: Path) -> None:
    one, two = Process(storage, tmp_path / "1"), Process(storage, tmp_path / "2")
    await one.store.put(new("a", "a.test"))
    await one.store.put(new("b", "b.test", default=True))
    for process in (one, two):
        await process.stored.look()
        assert process.shown() == ["a", "b"]
    before = two.tls.served[0]
    await one.store.put(new("a", "a.test", "more.test"))
    await two.stored.look()
    assert two.tls.served[-1].names == {"a.test", "more.test"}
    assert before not in two.tls.served
    await one.store.remove("a")
    await one.store.remove("b")
    await two.stored.look()
    assert two.shown() == ["self-signed"]


async def test_a_notice_or_the_next_look_brings_it(storage: Storage, tmp_path: Path) -> None:
    told, untold = Process(storage, tmp_path / "1"), Process(storage, tmp_path / "2")
    tasks = [asyncio.create_task(told.stored.keep(3600)), asyncio.create_task(untold.stored.keep(0.02))]
    try:
        await told.store.put(new("a", "a.test"))
        await until(lambda: untold.shown() == ["a"])
        assert told.shown() == ["self-signed"]
        told.stored.heard()
        await until(lambda: told.shown() == ["a"])
        await told.store.remove("a")
        await until(lambda: untold.shown() == ["self-signed"])
    finally:
        for task in tasks:
            task.cancel()


async def test_a_wrong_secret_is_told_and_the_others_serve(storage: Storage, tmp_path: Path) -> None:
    process = Process(storage, tmp_path)
    await Process(storage, tmp_path, "another secret, of another node").store.put(new("a", "a.test"))
    await process.store.put(new("b", "b.test"))
    with capture_logs() as logs:
        await process.stored.look()
    assert process.shown() == ["b"]
    assert process.stored.unusable == 1
    (told,) = [each for each in logs if each["event"] == "certificate cannot be used"]
    assert (told["certificate"], told["log_level"]) == ("a", "error")
    assert "certificates.former-secrets" in told["reason"]
    for name in ("a", "b"):
        await process.store.remove(name)


async def test_what_cannot_be_read_is_told_and_the_others_serve(storage: Storage, tmp_path: Path) -> None:
    process = Process(storage, tmp_path)
    await process.store.put(new("a", "a.test"))
    await process.store.put(new("b", "b.test"))
    await storage._database.execute("UPDATE certificate SET chain = 'nonsense', version = version + 1 WHERE name = 'a'")
    with capture_logs() as logs:
        await process.stored.look()
    assert process.shown() == ["b"]
    assert [each["reason"] for each in logs if each["log_level"] == "error"] == ["there is no certificate in PEM form"]
    for name in ("a", "b"):
        await process.store.remove(name)


async def test_a_database_that_is_away_leaves_what_is_shown(
    storage: Storage, storage_settings: StorageSettings, tmp_path: Path
) -> None:
    other = await Storage.open(storage_settings)
    process = Process(other, tmp_path)
    await process.store.put(new("a", "a.test"))
    await process.stored.look()
    await other.close()
    with capture_logs() as logs:
        await process.stored.look()
    assert process.shown() == ["a"]
    assert [each["event"] for each in logs] == ["certificates not looked at, tried again"]
    await storage.certificates.remove("a")
