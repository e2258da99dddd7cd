"""acme.renew against a real authority: each kind of challenge, renewal, take-over, and everything that may go wrong."""

import asyncio
import base64
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography import x509
from structlog.testing import capture_logs

from posthorn_bus import HeldLease, LeaseKeeper, LeaseTimes
from posthorn_maintenance import dns_records as records
from posthorn_maintenance.acme.renewal import LONGEST_PAUSE, pause, renewal_time
from posthorn_maintenance.jobs import acme
from posthorn_maintenance.jobs.acme import Acme
from posthorn_maintenance.jobs.job import Progress, Tenure
from posthorn_model.clock import SystemClock
from posthorn_model.cluster import Process
from posthorn_model.errors import AuthorityRefused, LeaseLost, NotFound, Unavailable
from posthorn_model.events import Control
from posthorn_model.ids import NodeId
from posthorn_node.challenges import ANSWERS, Challenges
from posthorn_node.http import server_on
from posthorn_node.listen import open_sockets
from posthorn_node.metrics import Metrics
from posthorn_node.settings import AcmeSettings, DnsSettings, EabSettings, ServerSettings
from posthorn_node.tls import TlsContexts
from posthorn_storage import Storage, StorageSettings
from posthorn_storage.certificates import NewCertificate
from posthorn_storage.purge import Share
from posthorn_testkit import acme_servers
from posthorn_testkit.acme_servers import EAB_KID, ZONE, Authority, NameServer

pytestmark = pytest.mark.postgres
LOG = structlog.get_logger()
NAME = "mine"


@pytest.fixture
def storage_settings(storage_settings: StorageSettings) -> StorageSettings:
    # The processes of these tests have one heartbeat.
    return replace(storage_settings, secrets=("the secret of all nodes",), failure_after=600.0)


@dataclass
class Holder:
    """A process that holds the role."""

    storage: Storage
    acme: Acme
    lease: HeldLease
    heard: list[Control] = field(default_factory=list)

    async def round(self) -> list[Progress]:
        """All steps of one round."""
        found = [await self.acme.step(self.tenure, "")]
        while found[-1].cursor:
            found.append(await self.acme.step(self.tenure, found[-1].cursor))
        return found

    @property
    def tenure(self) -> Tenure:
        return Tenure("acme.renew", self.lease, LOG)

    async def due(self) -> None:
        """The pause after a failure is over."""
        await self.storage._database.execute("UPDATE acme_order SET due = now()")


Hold = Callable[..., Any]


@pytest.fixture
def hold(storage: Storage) -> Hold:
    """`await hold(**providers)`: a holder of the role."""

    async def make(**providers: AcmeSettings) -> Holder:
        # Nobody renews it: it must outlast the test.
        keeper = LeaseKeeper(storage.leases, f"boot {len(providers)}", SystemClock(), LeaseTimes(ttl=600.0))
        (lease,) = await keeper.acquire(["role/acme.renew"])
        heard: list[Control] = []
        return Holder(storage, Acme(storage, providers, Metrics(), heard.append), lease, heard)

    return make


def provider(authority: Authority, *domains: str, **more: Any) -> AcmeSettings:
    settings = {"challenge": "http-01", "contact": ["admin@example.org"], "terms_agreed": True, **more}
    return AcmeSettings(directory=authority.directory, ca=authority.ca, domains=domains, **settings)


def by_dns(names: NameServer, **more: Any) -> dict[str, Any]:
    server = f"127.0.0.1:{names.port}"
    update = {"server": server, "zone": ZONE, "key_name": names.key_name, "key_secret": names.key_secret, **more}
    return {"challenge": "dns-01", "dns": DnsSettings(**update)}


async def beat(storage: Storage, challenges: Challenges) -> None:
    """Have the node table say that there is a process whose listeners answer."""
    node = await storage.nodes.claim_node(NodeId(1), "token", 600.0)
    now, address = datetime.now(UTC), {ANSWERS: challenges.kinds(tls=True)}
    process = Process(node, "jmap", "boot", "node.example.org", "", "ready", address, 0.0, now, now, True)
    assert (await storage.nodes.beat(process, "token", 600.0)).held


def answering(storage: Storage) -> Challenges:
    return Challenges(storage.acme.challenge, ["http-01", "tls-alpn-01"])


@asynccontextmanager
async def two_nodes(storage: Storage, authority: Authority, folder: Path) -> AsyncIterator[None]:
    """Listeners of two nodes, each of which may be the one that the authority asks."""
    servers, challenges = [], answering(storage)
    for number in range(2):
        tls = TlsContexts(ServerSettings(hostname="node.example.org", data=folder / str(number)))
        for port, context in ((authority.http_port, None), (authority.tls_port, tls.server_context(("http/1.1",)))):
            sockets = open_sockets(f"127.0.0.1:{port}", reuse_port=True)
            servers.append(server_on(_nothing, sockets, tls=context, challenges=challenges))
    for server in servers:
        await server.start()
    await beat(storage, challenges)
    try:
        yield
    finally:
        for server in servers:
            await server.stop()


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def rows(storage: Storage, table: str) -> int:
    count: int = await storage._database.fetchval(f"SELECT count(*) FROM {table}")
    return count


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
async def test_any_node_answers_for_a_name(
    storage: Storage, hold: Hold, acme_authority: Authority, tmp_path: Path, challenge: str
) -> None:
    names = (f"{challenge}.{ZONE}", f"other.{challenge}.{ZONE}")
    holder = await hold(mine=provider(acme_authority, *names, challenge=challenge, default=True))
    async with two_nodes(storage, acme_authority, tmp_path):
        assert await holder.round() == [Progress("", 1)]
    (record,) = await storage.certificates.all()
    assert (record.name, record.source, record.provider, record.default) == (NAME, "acme", NAME, True)
    assert record.names == set(names)
    assert holder.heard == [Control("certificates")]
    leaf, issuer = x509.load_pem_x509_certificates(record.chain)[:2]
    leaf.verify_directly_issued_by(issuer)
    assert await rows(storage, "acme_challenge") == 0
    assert b"PRIVATE" in storage.certificates.key_of(record)
    # In time there is nothing to do, but to ask the authority for its advice, once.
    assert await holder.round() == [Progress("", 0)]
    order = await storage.acme.order(NAME)
    assert order is not None
    assert (order.url, order.key, order.failures, order.waits) == (None, None, 0, False)
    assert order.ask_at is not None
    assert record.not_before < order.renew_at < record.not_after


async def test_the_authority_is_not_sent_before_a_listener_answers(
    storage: Storage, hold: Hold, acme_authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = await hold(mine=provider(acme_authority, f"early.{ZONE}"))
    with monkeypatch.context() as patched:
        patched.setattr(acme, "LISTENER_PAUSES", (0.0,))
        (told,) = await holder.round()
    assert told.problem is not None
    assert "no listener of any node answers http-01" in told.problem
    await holder.due()
    # The same order is good for the next try, which waits for the listeners of a cluster that starts.
    before = await storage.acme.order(NAME)
    round_ = asyncio.create_task(holder.round())
    async with two_nodes(storage, acme_authority, tmp_path):
        assert await round_ == [Progress("", 1)]
    assert before is not None
    assert before.url


async def test_records_in_dns_are_answered_also_for_a_wildcard(
    storage: Storage, hold: Hold, acme_authority: Authority, name_server: NameServer
) -> None:
    names = (f"dns.{ZONE}", f"*.dns.{ZONE}")
    holder = await hold(mine=provider(acme_authority, *names, **by_dns(name_server)))
    assert await holder.round() == [Progress("", 1)]
    (record,) = await storage.certificates.all()
    assert record.names == set(names)


async def test_a_command_writes_records_too(
    storage: Storage, hold: Hold, acme_authority: Authority, name_server: NameServer, tmp_path: Path
) -> None:
    """The command is a program of the operator's: here one that sends an update itself, and keeps a record."""
    script = tmp_path / "txt"
    script.write_text(
        f"""#!{sys.executable}
import sys, os, asyncio
open({str(tmp_path / "calls")!r}, "a").write(" ".join(sys.argv[1:3]) + " " + ",".join(sorted(os.environ)) + "\\n")
from posthorn_maintenance import dns_records as records
from posthorn_node.settings import DnsSettings
asyncio.run(records.change(DnsSettings(server="127.0.0.1:{name_server.port}", zone="{ZONE}",
    key_name="{name_server.key_name}", key_secret="{name_server.key_secret}"), sys.argv[1], [tuple(sys.argv[2:])]))
"""
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    settings = provider(acme_authority, f"hook.{ZONE}", challenge="dns-01", dns=DnsSettings(command=(str(script),)))
    holder = await hold(mine=settings)
    assert await holder.round() == [Progress("", 1)]
    added, removed = (tmp_path / "calls").read_text().splitlines()
    assert added.startswith(f"add _acme-challenge.hook.{ZONE} ")
    assert removed.startswith(f"remove _acme-challenge.hook.{ZONE} ")
    assert set(added.split()[2].split(",")) <= {"PATH", "HOME", "LANG", "TZ", "LC_CTYPE"}


async def test_an_external_account_is_bound(storage: Storage, hold: Hold, name_server: NameServer) -> None:
    with acme_servers.authority(name_server, external_accounts=True) as authority:
        unbound = provider(authority, f"eab.{ZONE}", **by_dns(name_server))
        holder = await hold(mine=unbound)
        (progress,) = await holder.round()
        assert "set eab.kid and eab.hmac-key" in str(progress.problem)
        bound = unbound.model_copy(update={"eab": EabSettings(kid=EAB_KID, hmac_key=authority.eab_key)})
        holder.acme = Acme(storage, {NAME: bound}, Metrics(), holder.heard.append)
        await holder.due()
        assert await holder.round() == [Progress("", 1)]


async def test_a_refusal_is_told_kept_and_tried_again_later(
    storage: Storage, hold: Hold, acme_authority: Authority, name_server: NameServer
) -> None:
    holder = await hold(
        bad=provider(acme_authority, f"blocked.{ZONE}", **by_dns(name_server)),
        good=provider(acme_authority, f"good.{ZONE}", **by_dns(name_server)),
    )
    with capture_logs() as logs:
        bad, good = await holder.round()
    assert (bad.cursor, bad.worked, good) == ("bad", 0, Progress("", 1))
    assert "bad: the authority says: " in str(bad.problem)
    assert f"blocked.{ZONE}" in str(bad.problem)
    (told,) = [each for each in logs if each["log_level"] == "error"]
    assert (told["certificate"], told["again_in"] >= 300) == ("bad", True)
    assert list(await storage.acme.problems()) == ["bad"]
    before = await rows(storage, "acme_order")
    assert await holder.round() == [Progress("bad", 0), Progress("", 0)]  # it waits
    assert await rows(storage, "acme_order") == before


async def test_a_name_that_is_not_ours_is_refused_and_the_next_order_is_a_new_one(
    storage: Storage, hold: Hold, acme_authority: Authority, tmp_path: Path
) -> None:
    holder = await hold(mine=provider(acme_authority, f"late.{ZONE}"))
    await beat(storage, answering(storage))
    (progress,) = await holder.round()  # nobody listens where the authority looks
    assert f"late.{ZONE} is invalid: " in str(progress.problem)
    order = await storage.acme.order(NAME)
    assert order is not None
    assert (order.url, order.failures, order.waits) == (None, 1, True)
    assert await rows(storage, "acme_challenge") == 0
    await holder.due()
    async with two_nodes(storage, acme_authority, tmp_path):
        assert await holder.round() == [Progress("", 1)]
    assert await storage.acme.problems() == {}


async def test_an_authority_that_is_down_is_told_and_the_certificate_stays(
    storage: Storage, hold: Hold, name_server: NameServer
) -> None:
    with acme_servers.authority(name_server) as authority:
        settings = provider(authority, f"down.{ZONE}", **by_dns(name_server))
        holder = await hold(mine=settings)
        assert await holder.round() == [Progress("", 1)]
        authority.stop()
        await storage.acme.wish(NAME)
        (progress,) = await holder.round()
    assert f"the authority {settings.directory} cannot be reached" in str(progress.problem)
    assert list(await storage.certificates.versions()) == [NAME]
    order = await storage.acme.order(NAME)
    assert order is not None
    assert (order.failures, order.wished) == (1, True)


async def test_an_authority_that_has_forgotten_our_account_is_asked_for_another(
    storage: Storage, hold: Hold, acme_authority: Authority, name_server: NameServer
) -> None:
    holder = await hold(mine=provider(acme_authority, f"again.{ZONE}", **by_dns(name_server)))
    assert await holder.round() == [Progress("", 1)]
    await storage._database.execute("UPDATE acme_account SET url = regexp_replace(url, '[^/]+$', 'unknown')")
    await storage.acme.wish(NAME)
    (progress,) = await holder.round()
    assert "not found" in str(progress.problem).lower()
    await holder.due()
    assert await holder.round() == [Progress("", 1)]


async def test_a_certificate_is_renewed_when_its_authority_advises_it(
    storage: Storage, hold: Hold, acme_authority: Authority, name_server: NameServer
) -> None:
    """As it does before it revokes one (RFC 9773)."""
    holder = await hold(mine=provider(acme_authority, f"ari.{ZONE}", **by_dns(name_server)))
    assert await holder.round() == [Progress("", 1)]
    (record,) = await storage.certificates.all()
    now = datetime.now(UTC)
    window = [(now - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ") for days in (2, 1)]
    await asyncio.to_thread(acme_authority.advise, record.chain.decode(), *window)
    assert await holder.round() == [Progress("", 0)]  # asks for the advice
    assert await holder.round() == [Progress("", 1)]  # takes it
    (renewed,) = await storage.certificates.all()
    assert renewed.version != record.version
    assert renewed.chain != record.chain


async def test_a_revoked_certificate_is_shown_by_nobody_and_replaced(
    storage: Storage, hold: Hold, acme_authority: Authority, name_server: NameServer
) -> None:
    holder = await hold(mine=provider(acme_authority, f"revoked.{ZONE}", **by_dns(name_server)))
    with pytest.raises(NotFound):
        await storage.certificates.revoke(NAME)
    assert await holder.round() == [Progress("", 1)]
    (record,) = await storage.certificates.all()
    serial = x509.load_pem_x509_certificate(record.chain).serial_number
    assert await asyncio.to_thread(acme_authority.status, serial) == "Valid"
    await storage.certificates.revoke(NAME)
    assert await storage.certificates.versions() == {}
    assert await holder.round() == [Progress("", 1)]
    assert await asyncio.to_thread(acme_authority.status, serial) == "Revoked"
    (replaced,) = await storage.certificates.all()
    assert (replaced.state, replaced.chain != record.chain) == ("ready", True)


async def test_an_expired_certificate_and_one_of_other_names_are_replaced(
    storage: Storage, hold: Hold, acme_authority: Authority, name_server: NameServer
) -> None:
    holder = await hold(mine=provider(acme_authority, f"old.{ZONE}", **by_dns(name_server)))
    old = datetime.now(UTC) - timedelta(days=90)
    expired = NewCertificate(
        NAME, [f"old.{ZONE}"], b"c", b"k", "i", old, old + timedelta(days=89), source="acme", provider=NAME
    )
    await storage.certificates.put(expired)
    assert await holder.round() == [Progress("", 1)]
    more = provider(acme_authority, f"old.{ZONE}", f"more.{ZONE}", **by_dns(name_server))
    holder.acme = Acme(storage, {NAME: more}, Metrics(), holder.heard.append)
    assert await holder.round() == [Progress("", 1)]
    (record,) = await storage.certificates.all()
    assert record.names == {f"old.{ZONE}", f"more.{ZONE}"}


async def test_the_next_holder_goes_on_with_the_order(
    storage: Storage, hold: Hold, acme_authority: Authority, tmp_path: Path
) -> None:
    """Handed over while the authority has not looked yet: the same order and key lead to the certificate."""
    slow = DnsSettings(command=("/bin/true",), propagation=600)
    holder = await hold(mine=provider(acme_authority, f"taken.{ZONE}", challenge="dns-01", dns=slow))
    working = asyncio.create_task(holder.round())
    async with asyncio.timeout(60):
        while (order := await storage.acme.order(NAME)) is None or order.url is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    holder.lease.end()
    assert await working == [Progress("", 0)]
    assert await storage.acme.problems() == {}
    await storage._database.execute("UPDATE lease SET until = now() - interval '1 second'")
    following = await hold(mine=provider(acme_authority, f"taken.{ZONE}"))
    async with two_nodes(storage, acme_authority, tmp_path):
        assert await following.round() == [Progress("", 1)]
    (record,) = await storage.certificates.all()
    assert storage.certificates.key_of(record) == order.key


async def test_what_the_authority_looks_for_is_there_while_the_role_is_handed_over(
    storage: Storage, hold: Hold, acme_authority: Authority
) -> None:
    looking, handed_over = asyncio.Event(), asyncio.Event()

    async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        token = (await reader.readline()).split()[1].rpartition(b"/")[2].decode()
        looking.set()
        await handed_over.wait()
        content = (await storage.acme.challenge("http-01", token) or "").encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
        writer.close()

    holder = await hold(mine=provider(acme_authority, f"handed.{ZONE}"))
    await beat(storage, answering(storage))
    async with await asyncio.start_server(answer_late, "127.0.0.1", acme_authority.http_port):
        working = asyncio.create_task(holder.round())
        await asyncio.wait_for(looking.wait(), 60)
        holder.lease.end()
        assert await working == [Progress("", 0)]
        await storage._database.execute("UPDATE lease SET until = now() - interval '1 second'")
        following = await hold(mine=provider(acme_authority, f"handed.{ZONE}"))
        handed_over.set()
        assert await following.round() == [Progress("", 1)]
    assert await rows(storage, "acme_challenge") == 0


async def test_what_a_late_holder_brings_back_is_refused(
    storage: Storage, hold: Hold, acme_authority: Authority, name_server: NameServer
) -> None:
    holder = await hold(mine=provider(acme_authority, f"fenced.{ZONE}", **by_dns(name_server)))
    await storage._database.execute("UPDATE lease SET epoch = epoch + 1")
    with pytest.raises(LeaseLost):
        await holder.round()
    for table in ("certificate", "acme_order", "acme_account"):
        assert await rows(storage, table) == 0


async def test_shares_of_the_role_have_certificates_of_their_own(
    storage: Storage, hold: Hold, acme_authority: Authority, name_server: NameServer
) -> None:
    names = {name: provider(acme_authority, f"{name}.{ZONE}", **by_dns(name_server)) for name in ("a", "b")}
    holder = await hold(**names)
    second = replace(holder.tenure, share=Share(1, 2))
    assert await holder.acme.step(second, "") == Progress("", 1)
    assert list(await storage.certificates.versions()) == ["b"]


async def test_a_wish_is_for_what_was_ordered(storage: Storage) -> None:
    with pytest.raises(NotFound, match="no certificate of the name mine was ordered"):
        await storage.acme.wish(NAME)


async def test_an_imported_certificate_is_not_replaced(
    storage: Storage, hold: Hold, acme_authority: Authority, name_server: NameServer
) -> None:
    now = datetime.now(UTC)
    await storage.certificates.put(NewCertificate(NAME, ["x"], b"c", b"k", "i", now, now + timedelta(days=1)))
    holder = await hold(mine=provider(acme_authority, f"x.{ZONE}", **by_dns(name_server)))
    (progress,) = await holder.round()
    assert "was imported: remove it, or give [acme] another name" in str(progress.problem)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key_secret": base64.b64encode(b"wrong").decode()}, "does not take the update"),
        ({"key_name": "", "key_secret": ""}, "does not take the update of example.test: REFUSED"),
        ({"zone": "example.net"}, "is not in the zone example.net"),
    ],
)
async def test_a_name_server_that_refuses_is_told(name_server: NameServer, change: dict[str, str], reason: str) -> None:
    settings = by_dns(name_server, **change)["dns"]
    with pytest.raises(AuthorityRefused, match=reason) as refusal:
        await records.change(settings, "add", [(f"_acme-challenge.no.{ZONE}", "text")])
    assert not refusal.value.dead


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("/none/there",), "dns.command cannot be run: No such file"),
        (("/bin/sh", "-c", "echo no such zone >&2; exit 3"), "dns.command ended with 3: no such zone"),
    ],
)
async def test_a_command_that_fails_is_told(command: tuple[str, ...], reason: str) -> None:
    with pytest.raises(AuthorityRefused, match=reason):
        await records.change(DnsSettings(command=command), "add", [("a.test", "text")])


async def test_a_name_server_that_is_away_is_told() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9 does not answer"):
        await records.change(DnsSettings(server="127.0.0.1:9", zone=ZONE), "add", [(f"a.{ZONE}", "text")])


def test_a_certificate_is_renewed_in_the_last_third_of_its_life_or_when_the_settings_say() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    assert renewal_time(begin, begin + timedelta(days=90), None) == begin + timedelta(days=60)
    assert renewal_time(begin, begin + timedelta(days=6), None) == begin + timedelta(days=4)
    assert renewal_time(begin, begin + timedelta(days=90), 10 * 86_400.0) == begin + timedelta(days=80)
    assert renewal_time(begin, begin + timedelta(days=6), 30 * 86_400.0) == begin + timedelta(days=3)


def test_pauses_grow_to_a_day_and_are_never_shorter_than_asked() -> None:
    for failures in range(1, 40):
        for refused, first in ((False, 60.0), (True, 600.0)):
            longest = min(LONGEST_PAUSE, first * 2 ** (failures - 1))
            assert longest / 2 <= pause(failures, refused=refused) <= longest
    assert pause(1, refused=True, asked=3000.0) == 3000.0
    assert pause(1, refused=True, asked=10**9) == LONGEST_PAUSE
