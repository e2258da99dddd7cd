"""dkim.rotate with a real name server: from the making of a key to the end of its record, and everything in between."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from posthorn_bus import HeldLease, LeaseKeeper, LeaseTimes
from posthorn_maintenance.dkim import rotation
from posthorn_maintenance.dkim.rotation import Next
from posthorn_maintenance.dkim.txt_lookup import TxtLookup
from posthorn_maintenance.jobs.dkim import DkimRotation
from posthorn_maintenance.jobs.job import Progress, Tenure
from posthorn_model.clock import SystemClock
from posthorn_model.errors import LeaseLost, Unavailable
from posthorn_node.metrics import Metrics
from posthorn_node.settings import DkimSettings, DnsSettings, ResolverSettings
from posthorn_storage import Storage, StorageSettings
from posthorn_storage.dkim import DkimKey, NewDkimKey, made
from posthorn_storage.purge import Share
from posthorn_testkit.acme_servers import ZONE, NameServer
from posthorn_testkit.dns import DnsServer

pytestmark = pytest.mark.postgres
LOG = structlog.get_logger()
NOW = datetime(2026, 1, 31, tzinfo=UTC)
HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
def storage_settings(storage_settings: StorageSettings) -> StorageSettings:
    return replace(storage_settings, secrets=("the secret of all nodes",))


@dataclass
class Holder:
    """A process that holds the role."""

    storage: Storage
    job: DkimRotation
    lease: HeldLease
    lookup: TxtLookup
    metrics: Metrics
    share: Share = field(default_factory=lambda: Share(0, 1))

    async def round(self) -> Progress:
        """All steps of one round, of which the last one is told."""
        progress = await self.job.step(self.tenure, "")
        while progress.cursor:
            progress = await self.job.step(self.tenure, progress.cursor)
        return progress

    @property
    def tenure(self) -> Tenure:
        return Tenure("dkim.rotate", self.lease, LOG, self.share)

    async def later(self, seconds: float) -> None:
        """So much time goes by: everything in the table is older."""
        columns = ("created_at", "published_at", "active_at", "retired_at", "removed_at", "due")
        aged = ", ".join(f"{name} = {name} - make_interval(secs => $1)" for name in columns)
        await self.storage._database.execute(f"UPDATE dkim_key SET {aged}", seconds)

    async def states(self, domain: str) -> list[tuple[str, str]]:
        return [(key.algorithm, key.state) for key in await self.storage.dkim.of([domain])]


Hold = Callable[..., Any]


@pytest.fixture
def hold(storage: Storage) -> Hold:
    """`await hold(server, {domain: settings})`: a holder of the role, which asks that name server."""

    async def make(port: int, tables: dict[str, DkimSettings]) -> Holder:
        await storage._database.execute("UPDATE lease SET until = now() - interval '1 second'")
        # Nobody renews it: it must outlast the test.
        keeper = LeaseKeeper(storage.leases, f"boot {id(tables)}", SystemClock(), LeaseTimes(ttl=600.0))
        (lease,) = await keeper.acquire(["role/dkim.rotate"])
        lookup, metrics = TxtLookup(ResolverSettings(servers=(f"127.0.0.1:{port}",), timeout=30)), Metrics()
        return Holder(storage, DkimRotation(storage, tables, lookup, metrics), lease, lookup, metrics)

    return make


def automatic(names: NameServer, **more: Any) -> DkimSettings:
    """Records are written by dynamic updates, of the zone above the domain.

    The domains are below a name of their own: one that has records below it is no longer led to 127.0.0.1.
    """
    update = DnsSettings(
        server=f"127.0.0.1:{names.port}", zone=ZONE, key_name=names.key_name, key_secret=names.key_secret
    )
    return DkimSettings(dns=update, activate_after=HOUR, **more)


async def test_keys_are_made_published_used_replaced_and_removed(hold: Hold, name_server: NameServer) -> None:
    domain = f"life.dkim.{ZONE}"
    holder = await hold(name_server.port, {domain: automatic(name_server)})
    await holder.round()
    assert await holder.states(domain) == [("rsa", "waiting"), ("ed25519", "waiting")]
    keys = await holder.storage.dkim.of([domain])
    assert await holder.lookup.texts(keys[0].record_name) == []
    await holder.round()  # writes the records
    for key in keys:
        assert await holder.lookup.texts(key.record_name) == [key.record_text]
    await holder.later(2)
    await holder.round()  # sees them
    await holder.later(HOUR / 2)
    await holder.round()
    assert await holder.states(domain) == [("rsa", "waiting"), ("ed25519", "waiting")]
    await holder.later(HOUR / 2)
    await holder.round()
    assert await holder.states(domain) == [("rsa", "active"), ("ed25519", "active")]
    assert {key.selector for key in await holder.storage.dkim.signing(domain)} == {key.selector for key in keys}

    await holder.later(180 * DAY)
    await holder.round()
    for _ in range(3):
        await holder.later(HOUR)
        await holder.round()
    states = [("rsa", "retired"), ("ed25519", "retired"), ("rsa", "active"), ("ed25519", "active")]
    assert sorted(await holder.states(domain)) == sorted(states)
    for key in keys:
        assert await holder.lookup.texts(key.record_name) == [key.record_text], "mail may be on its way"
    await holder.round()
    await holder.later(7 * DAY)
    await holder.round()
    await holder.round()
    assert sorted(state for _, state in await holder.states(domain)) == ["active", "active", "removed", "removed"]
    for key in keys:
        assert await holder.lookup.texts(key.record_name) == []
    assert all(key.problem is None for key in await holder.storage.dkim.of([domain]))
    told = holder.metrics.exposition().decode()
    assert 'dkim_key_changes_total{change="activated"} 4.0' in told
    assert 'dkim_key_changes_total{change="removed"} 2.0' in told
    assert "dkim_failures_total 0.0" in told


async def test_a_record_that_somebody_publishes_by_hand_is_waited_for(hold: Hold, storage: Storage) -> None:
    async with DnsServer({}) as server:
        holder = await hold(server.port, {})
        key = await storage.dkim.add(NewDkimKey("hand.example", made("ed25519")))
        before = await storage._database.fetchval("SELECT now()")
        await holder.round()
        (waiting,) = await storage.dkim.of(["hand.example"])
        assert "`posthorn dkim record hand.example` shows it" in str(waiting.problem)
        assert before <= waiting.due - timedelta(seconds=30) <= waiting.now
        other = f"v=DKIM1; k=ed25519; p={made('ed25519').public}"
        server.put(key.record_name, {"TXT": [f'"{other}"']})
        await holder.later(60)
        await holder.round()
        assert await holder.states("hand.example") == [("ed25519", "waiting")], "another key is there"
        server.put(
            key.record_name, {"TXT": [f'"{other}"', f'"v=DKIM1;k=ed25519 ; " "p={key.public[:9]} {key.public[9:]}"']}
        )
        await holder.later(1000)
        await holder.round()
        (seen,) = await storage.dkim.of(["hand.example"])
        assert (seen.state, seen.problem) == ("waiting", None)
        await holder.later(HOUR)
        await holder.round()
        assert await holder.states("hand.example") == [("ed25519", "active")]
        # No table is about the domain: its key is never replaced by itself.
        await holder.later(1000 * DAY)
        await holder.round()
        assert await holder.states("hand.example") == [("ed25519", "active")]
        await storage.dkim.remove("hand.example", key.selector)
        await holder.round()
        assert (await storage.dkim.of(["hand.example"]))[0].published_at is not None
        server.put(key.record_name, {})
        await holder.later(DAY + 1)
        await holder.round()
        assert (await storage.dkim.of(["hand.example"]))[0].published_at is None
        assert await storage.dkim.domains() == []


async def test_a_record_that_vanishes_is_told_of_and_written_again(hold: Hold, name_server: NameServer) -> None:
    domain = f"gone.dkim.{ZONE}"
    holder = await hold(name_server.port, {domain: automatic(name_server, algorithms=("ed25519",))})
    key = await holder.storage.dkim.add(NewDkimKey(domain, made("ed25519"), active=True))
    with capture_logs() as logs:
        progress = await holder.round()
    assert f"{key.record_name} is not in DNS, and its key signs" in str(progress.problem)
    assert [each["log_level"] for each in logs] == ["warning"]
    assert await holder.lookup.texts(key.record_name) == [key.record_text]
    await holder.later(120)
    assert await holder.round() == Progress("", 1, None)
    (found,) = await holder.storage.dkim.of([domain])
    assert (found.state, found.problem, found.failures) == ("active", None, 0)
    assert "dkim_records_missing_total 1.0" in holder.metrics.exposition().decode()


async def test_the_next_holder_goes_on_wherever_the_last_one_died(hold: Hold, name_server: NameServer) -> None:
    """A new holder for every single step: nothing that it needs is in the memory of the one before."""
    domain = f"killed.dkim.{ZONE}"
    tables = {domain: automatic(name_server, algorithms=("ed25519",), rotate_interval=10 * DAY)}
    seen = []
    for _ in range(20):
        holder = await hold(name_server.port, tables)
        await holder.round()
        seen.append([state for _, state in await holder.states(domain)])
        await holder.later(3 * DAY)
    assert seen[0] == ["waiting"]
    assert ["active"] in seen
    assert ["active", "waiting"] in seen
    assert ["retired", "active"] in seen
    assert any(states[0] == "removed" for states in seen)
    assert all(states.count("active") <= 1 and states.count("waiting") <= 1 for states in seen)


async def test_a_late_holder_makes_and_activates_nothing(hold: Hold, name_server: NameServer) -> None:
    domain = f"late.dkim.{ZONE}"
    tables = {domain: automatic(name_server, algorithms=("ed25519",))}
    late = await hold(name_server.port, tables)
    await hold(name_server.port, dict(tables))
    with pytest.raises(LeaseLost):
        await late.round()
    assert await late.states(domain) == []
    await late.storage.dkim.add(NewDkimKey(domain, made("ed25519")))
    with pytest.raises(LeaseLost):
        await late.round()
    assert await late.states(domain) == [("ed25519", "waiting")]


async def test_a_command_writes_records_too(hold: Hold, tmp_path: Path) -> None:
    script, told = tmp_path / "change-txt", tmp_path / "told"
    script.write_text(f"#!{sys.executable}\nimport sys\nopen('{told}', 'a').write('|'.join(sys.argv[1:]) + '\\n')\n")
    script.chmod(0o755)
    async with DnsServer({}) as server:
        tables = {"hook.example": DkimSettings(algorithms=("rsa",), dns=DnsSettings(command=(str(script),)))}
        holder = await hold(server.port, tables)
        await holder.round()
        await holder.round()
        (key,) = await holder.storage.dkim.of(["hook.example"])
        assert told.read_text() == f"add|{key.record_name}|{key.record_text}\n"
        await holder.storage.dkim.remove("hook.example", key.selector)
        await holder.round()
        assert told.read_text().splitlines()[-1] == f"remove|{key.record_name}|{key.record_text}"
        script.write_text("#!/bin/sh\necho no such zone >&2\nexit 3\n")
        progress = await holder.round()
        assert "dns.command ended with 3: no such zone" in str(progress.problem)


async def test_dns_that_does_not_answer_puts_keys_off(hold: Hold, storage: Storage) -> None:
    async with DnsServer({}) as server:
        holder = await hold(server.port, {})
        await storage.dkim.add(NewDkimKey("silent.example", made("ed25519"), active=True))
        server.put((await storage.dkim.all())[0].record_name, {"RCODE": ["SERVFAIL"]})
        progress = await holder.round()
        assert "DNS does not answer for ed25519" in str(progress.problem)
        (key,) = await storage.dkim.all()
        assert (key.state, key.failures) == ("active", 1)
        with pytest.raises(Unavailable):
            await holder.lookup.texts(key.record_name)
        assert await holder.round() == Progress(), "not due"


async def test_a_star_is_every_other_domain_of_the_cluster(hold: Hold, storage: Storage) -> None:
    await storage.directory.add_domain("one.example")
    await storage.directory.add_domain("two.example")
    async with DnsServer({}) as server:
        few, none = DkimSettings(algorithms=("ed25519",)), DkimSettings(algorithms=("rsa",))
        holder = await hold(server.port, {"*": few, "two.example": none})
        for number in range(2):
            holder.share = Share(number, 2)
            await holder.round()
        assert await holder.states("one.example") == [("ed25519", "waiting")]
        assert await holder.states("two.example") == [("rsa", "waiting")]


async def test_many_domains_are_done_step_by_step(hold: Hold, storage: Storage) -> None:
    async with DnsServer({}) as server:
        names = [f"d{number}.example" for number in range(25)]
        holder = await hold(server.port, {name: DkimSettings(algorithms=("ed25519",)) for name in names})
        cursors = [(await holder.job.step(holder.tenure, "")).cursor]
        while cursors[-1]:
            cursors.append((await holder.job.step(holder.tenure, cursors[-1])).cursor)
        assert cursors == [sorted(names)[9], sorted(names)[19], ""]
        assert len(await storage.dkim.domains()) == 25


async def test_nothing_is_done_without_a_secret(storage: Storage, hold: Hold) -> None:
    holder = await hold(9, {"a.example": DkimSettings()})
    storage.dkim.keys._keys.clear()
    assert await holder.round() == Progress()


def key(state: Any = "waiting", algorithm: Any = "rsa", **times: float) -> DkimKey:
    """A key with times in seconds before NOW."""
    at = {name: NOW - timedelta(seconds=seconds) for name, seconds in times.items()}
    empty: dict[str, Any] = dict.fromkeys(("published_at", "active_at", "retired_at", "removed_at"))
    return DkimKey(
        "example.org", "s", algorithm, state, "AAAA", problem=None, failures=0, now=NOW,
        **{**empty, "created_at": NOW, "due": NOW, **at},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], ["rsa", "ed25519"]),
        ([key("waiting")], ["ed25519"]),
        ([key("active", active_at=100 * DAY)], ["ed25519"]),
        ([key("active", active_at=180 * DAY), key("active", "ed25519", active_at=0)], ["rsa"]),
        ([key("active", active_at=200 * DAY), key("waiting")], ["ed25519"]),
        ([key("retired"), key("removed", "ed25519")], ["rsa", "ed25519"]),
    ],
)
def test_when_a_key_is_made(keys: list[DkimKey], expected: list[str]) -> None:
    assert rotation.missing(DkimSettings(), keys, NOW) == expected


def test_keys_are_never_replaced_without_an_interval() -> None:
    keys = [key("active", active_at=9999 * DAY), key("active", "ed25519", active_at=9999 * DAY)]
    assert rotation.missing(DkimSettings(rotate_interval=0), keys, NOW) == []


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (key("waiting"), Next.WAIT),
        (key("active"), Next.WATCH),
        (key("retired", retired_at=6 * DAY), Next.REST),
        (key("retired", retired_at=7 * DAY), Next.REMOVE),
        (key("removed", published_at=1), Next.CLEAR),
        (key("removed"), Next.NOTHING),
    ],
)
def test_what_is_next_for_a_key(of: DkimKey, expected: Next) -> None:
    assert rotation.following(DkimSettings(), of, NOW) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("v=DKIM1; k=rsa; p=AAAA", True),
        ("p=AAAA", True),
        ("v=DKIM1; h=sha256; p=A A\tAA; t=s", True),
        ("v=DKIM1; k=ed25519; p=AAAA", False),
        ("v=DKIM2; p=AAAA", False),
        ("v=DKIM1; p=", False),
        ("p=AAAAA", False),
        ("", False),
        (";;==;", False),
    ],
)
def test_which_record_is_a_keys(text: str, expected: bool) -> None:
    assert rotation.publishes(text, key()) is expected


def test_looks_for_a_record_become_fewer() -> None:
    assert rotation.look_again(key(created_at=0), NOW) == 30
    assert rotation.look_again(key(created_at=HOUR), NOW) == 360
    assert rotation.look_again(key(created_at=DAY), NOW) == 900
