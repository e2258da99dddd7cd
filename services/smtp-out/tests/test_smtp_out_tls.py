"""What hosts must show under TLS, with real DNS packets and real servers: good ones, and bad ones of every kind."""

import hashlib
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from posthorn_model.errors import Unavailable
from posthorn_model.tls_reports import TlsPolicy, TlsSession
from posthorn_node.settings import ResolverSettings, SettingsError
from posthorn_smtp_out.pacing import Limits
from posthorn_smtp_out.pool import Pool, Unreachable
from posthorn_smtp_out.protocol.content import needs_no_tls
from posthorn_smtp_out.protocol.envelope import Envelope, EnvelopeRecipient
from posthorn_smtp_out.protocol.transaction import Transaction
from posthorn_smtp_out.remote import Manners, client_context
from posthorn_smtp_out.remoting import guard
from posthorn_smtp_out.resolver import NoRoute, Resolver
from posthorn_smtp_out.routes import Destination, Relay, Router, relaxed, verified
from posthorn_smtp_out.settings import SendTimes, SmtpOutSettings
from posthorn_smtp_out.sources import Source
from posthorn_smtp_out.tls.greeting import Contexts, Greeter
from posthorn_smtp_out.tls.policy_host import PolicyHosts
from posthorn_smtp_out.tls.promises import FAILED, Promises
from posthorn_smtp_out.tls.tally import SessionTally
from posthorn_storage import Storage
from posthorn_testkit.authorities import Authority, Identity, self_signed
from posthorn_testkit.dns import DnsServer
from posthorn_testkit.policy_server import SILENT, PolicyServer, text
from posthorn_testkit.sink import EXTENSIONS, Sink

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated")
SOURCE = Source("", "here.example")
SITE, MX = "example.net", "mx.example.net"
ROOT = Authority("root")
GOOD = ROOT.issue(MX)
SELF_SIGNED = self_signed(MX)
EXPIRED = ROOT.issue(MX, days=2, age=10)
WRONG_NAME = ROOT.issue("mx.elsewhere.example")
OLD = "TLS 1.0"
STRIPPED = "no STARTTLS"
BROKEN = "no handshake"
Shown = Identity | str
EVERY: Mapping[str, Shown] = {
    "good": GOOD,
    "self-signed": SELF_SIGNED,
    "expired": EXPIRED,
    "wrong-name": WRONG_NAME,
    "old": OLD,
    "stripped": STRIPPED,
    "broken": BROKEN,
}


def digest(identity: Identity, place: int = 0, usage: int = 3) -> str:
    """A TLSA record for the key of a certificate of the chain."""
    key = identity.chain[place].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"{usage} 1 1 {hashlib.sha256(key).hexdigest()}"


@dataclass
class World:
    """A domain with one exchanger, and who sends to it."""

    dns: DnsServer
    folder: Path
    sinks: list[Sink] = field(default_factory=list)
    promises: Promises | None = None
    known: Resolver | None = None
    """In place of a new one for each message."""
    told: "Told | None" = None

    async def exchanger(self, shown: Shown) -> Sink:
        """A server that shows this, at the domain's exchanger, in place of the last one."""
        while self.sinks:
            await self.sinks.pop().stop()
        sink = Sink(extensions=(*EXTENSIONS, "REQUIRETLS"))
        if isinstance(shown, Identity):
            sink.tls = shown.server(self.folder)
        elif shown == OLD:
            sink.tls = GOOD.server(self.folder, version=ssl.TLSVersion.TLSv1)
        elif shown == BROKEN:
            sink.extensions.append("STARTTLS")  # and then it goes on in plain text
        await sink.start()
        self.sinks.append(sink)
        self.dns.put(SITE, {"MX": [f"10 {MX}."]})
        self.dns.put(MX, {"A": ["127.0.0.1"]})
        return sink

    def tlsa(self, *records: str, host: str = MX, **more: list[str]) -> None:
        self.dns.put(f"_{self.sinks[0].port}._tcp.{host}", {"TLSA": list(records), **more})

    def resolver(self, *, dnssec: bool = True) -> Resolver:
        return Resolver(ResolverSettings(servers=(self.dns.address,), dnssec=dnssec, timeout=60))

    def pool(self, *, dnssec: bool = True, **settings: Any) -> Pool:
        resolver = self.known or self.resolver(dnssec=dnssec)
        port = self.sinks[0].port
        own = SmtpOutSettings(**{"port": port, **settings})
        note = self.told.note if self.told else None
        watching = guard(own, resolver, self.promises, note)
        router = Router(resolver, hostname="here.example", port=port, relay=None, routes=own.routes, guard=watching)
        contexts = Contexts(client_context(verify=False), ROOT.client())
        manners = Manners("here.example", "opportunistic", SendTimes(), contexts.lax)
        return Pool(router, lambda _: manners, lambda _: Limits(2, 9, idle=3600.0), Greeter(contexts, note))

    async def send(self, destination: Destination | None = None, **settings: Any) -> str:
        """What became of a message: "TLS" or "plain" for how it was taken, or the reply that is kept with it."""
        used = self.pool(**settings)
        where = destination or Destination(SITE)
        for sink in self.sinks:
            sink.mails.clear()
        try:
            async with used.connection(where, SOURCE) as remote:
                recipient = EnvelopeRecipient(1, f"bob@{SITE}")
                envelope = Envelope("a@b.example", [recipient], 9, False, False, require_tls=where.verified)
                transaction = Transaction(envelope, remote.capabilities)
                await remote.send(transaction, b"A: b\r\n\r\nc\r\n", _may_end)
        except (Unreachable, NoRoute) as error:
            assert not any(sink.mails for sink in self.sinks)
            return error.reply.text
        await used.close()
        assert transaction.replies[1].positive
        (mail,) = [mail for sink in self.sinks for mail in sink.mails]
        assert mail.tls == bool(remote.tls)
        assert ("REQUIRETLS" in mail.mail) == where.verified
        return "TLS" if mail.tls else "plain"


async def _may_end(ids: Sequence[int]) -> bool:
    return True


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with DnsServer({}, secure=True) as dns:
        made = World(dns, tmp_path)
        yield made
        for sink in made.sinks:
            await sink.stop()


REASONS = {
    "self-signed": "454 4.7.5 TLS is required by the settings: the certificate is refused: self-signed certificate",
    "expired": "454 4.7.5 TLS is required by the settings: the certificate is refused: certificate has expired",
    "wrong-name": "454 4.7.5 TLS is required by the settings: the certificate is refused: Hostname mismatch",
    "old": "454 4.7.5 TLS is required by the settings: TLS handshake failed",
    "stripped": "454 4.7.4 TLS is required by the settings: the remote does not offer it",
    "broken": "454 4.7.5 TLS is required by the settings: TLS handshake failed",
}


@pytest.mark.parametrize("server", EVERY)
@pytest.mark.parametrize("level", ["none", "opportunistic", "encrypt", "required"])
async def test_every_level_meets_every_server(world: World, level: str, server: str) -> None:
    await world.exchanger(EVERY[server])
    said = await world.send(tls=level)
    if level == "none":
        assert said == "plain"
    elif server in ("old", "stripped", "broken"):
        assert said == "plain" if level == "opportunistic" else said.startswith(REASONS[server])
    elif level == "required" and server != "good":
        assert said.startswith(REASONS[server])
    else:
        assert said == "TLS"


@pytest.mark.parametrize("server", EVERY)
async def test_the_end_entity_alone_is_proof_by_dane(world: World, server: str) -> None:
    """RFC 7672 3.1.1: neither name, dates nor issuer count, and who does not show the key gets nothing."""
    await world.exchanger(EVERY[server])
    world.tlsa(digest(SELF_SIGNED), digest(EXPIRED), digest(WRONG_NAME))
    said = await world.send()
    if server == "good":
        assert said == "454 4.7.5 TLS is required by DANE: no TLSA record matches what the server showed"
    elif server in ("old", "stripped", "broken"):
        assert said.startswith(REASONS[server].replace("the settings", "DANE"))
    else:
        assert said == "TLS"


@pytest.mark.parametrize("server", ["good", "self-signed", "expired", "wrong-name"])
async def test_an_authority_is_proof_for_names_and_dates(world: World, server: str) -> None:
    shown = EVERY[server]
    await world.exchanger(shown)
    world.tlsa(digest(GOOD, 1, usage=2))
    said = await world.send()
    reasons = {
        "good": "TLS",
        "self-signed": "no TLSA record matches",
        "expired": "not valid",
        "wrong-name": "subjectAltName",
    }
    assert reasons[server] in said


@pytest.mark.parametrize(
    "change",
    [
        {SITE: {"MX": [f"10 {MX}."], "MX-": []}},
        {MX: {"A": ["127.0.0.1"], "INSECURE": []}},
        {"tlsa": {"TLSA": [digest(GOOD)], "INSECURE": []}},
    ],
    ids=["exchangers", "addresses", "tlsa"],
)
async def test_without_dnssec_on_the_way_there_is_no_dane(world: World, change: dict[str, Any]) -> None:
    await world.exchanger(SELF_SIGNED)
    world.tlsa(digest(GOOD))
    for name, kinds in change.items():
        world.dns.put(f"_{world.sinks[0].port}._tcp.{MX}" if name == "tlsa" else name, kinds)
    assert await world.send() == "TLS"


async def test_the_ad_bit_of_a_server_that_is_not_trusted_means_nothing(world: World) -> None:
    await world.exchanger(SELF_SIGNED)
    world.tlsa(digest(GOOD))
    assert await world.send(dnssec=False) == "TLS"
    assert not [name for name, kind in world.dns.queries if kind == "TLSA"]


@pytest.mark.parametrize("kinds", [{"RCODE": ["SERVFAIL"]}, {"SILENT": []}, {"GARBAGE": []}])
async def test_a_failed_look_up_delays_and_never_downgrades(world: World, kinds: dict[str, list[str]]) -> None:
    await world.exchanger(GOOD)
    world.tlsa(**kinds)
    world.known = resolver = world.resolver()
    await resolver.exchangers(SITE)
    await resolver.addresses(MX)
    resolver._names._resolver.lifetime = 0.2  # all else that will be asked for is known by now
    assert await world.send() == f"451 4.7.0 DANE: the look-up of TLSA records of {MX} failed"
    assert world.sinks[0].connections == 0


async def test_another_exchanger_takes_what_one_without_an_answer_cannot(world: World) -> None:
    await world.exchanger(GOOD)
    world.tlsa(RCODE=["SERVFAIL"])
    world.dns.put(SITE, {"MX": [f"10 {MX}.", "20 second.example.net."]})
    world.dns.put("second.example.net", {"A": ["127.0.0.1"]})
    assert await world.send() == "TLS"


@pytest.mark.parametrize("server", ["self-signed", "stripped"])
async def test_records_that_cannot_be_matched_still_promise_tls(world: World, server: str) -> None:
    await world.exchanger(EVERY[server])
    world.tlsa(digest(GOOD, usage=1), "3 1 9 00ff")
    said = await world.send()
    assert said == "TLS" if server == "self-signed" else said.startswith("454 4.7.4 TLS is required by DANE")


async def test_aliases_are_followed_as_far_as_they_are_secure(world: World) -> None:
    await world.exchanger(SELF_SIGNED)
    world.dns.put(MX, {"CNAME": ["real.example.org."]})
    world.dns.put("real.example.org", {"A": ["127.0.0.1"]})
    world.tlsa(digest(SELF_SIGNED), host="real.example.org")
    assert await world.send() == "TLS"
    world.tlsa(digest(GOOD), host="real.example.org")
    assert "no TLSA record matches" in await world.send()
    world.dns.put("real.example.org", {"A": ["127.0.0.1"], "INSECURE": []})
    world.tlsa(digest(EXPIRED))
    assert "no TLSA record matches" in await world.send(), "of the name before the aliases"


async def test_settings_for_a_domain_count_instead_of_what_it_publishes(world: World) -> None:
    await world.exchanger(SELF_SIGNED)
    world.tlsa(digest(GOOD))
    assert "no TLSA record" in await world.send(tls_policy={"elsewhere.example": "none"})
    assert "no TLSA record" in await world.send(tls_policy={SITE: "dane"})
    assert "self-signed certificate" in await world.send(tls_policy={SITE: "required"})
    assert await world.send(tls_policy={SITE: "opportunistic"}, tls="required") == "TLS"
    assert await world.send(tls_policy={"Example.NET": "none"}) == "plain"
    assert await world.send(dane=False) == "TLS"


async def test_dane_that_is_set_and_not_there_delays(world: World) -> None:
    await world.exchanger(GOOD)
    said = await world.send(tls_policy={SITE: "dane"})
    assert said == f"451 4.7.0 DANE is set for {SITE}, and {MX} has no usable TLSA records"
    with pytest.raises(SettingsError, match=r"resolver\.dnssec"):
        world.pool(dnssec=False, tls_policy={SITE: "dane"})


@pytest.mark.parametrize("server", EVERY)
async def test_requiretls_reaches_those_that_something_vouches_for(world: World, server: str) -> None:
    await world.exchanger(EVERY[server])
    where = verified(Destination(SITE))
    insecure = await world.send(where, dnssec=False)
    assert insecure.startswith("550 5.7.30 REQUIRETLS, and nothing vouches for")
    said = await world.send(where)  # DNSSEC vouches for the exchanger's name, an authority for its certificate
    assert said == "TLS" if server == "good" else said.startswith(REASONS[server].replace("the settings", "REQUIRETLS"))
    world.tlsa(digest(SELF_SIGNED))
    said = await world.send(where, tls="none")
    assert said == "TLS" if server == "self-signed" else said.startswith("454 4.7")


async def test_requiretls_over_a_set_route_needs_a_certificate_of_its_name(world: World) -> None:
    sink = await world.exchanger(SELF_SIGNED)
    route = Destination(sink.address, Relay((("127.0.0.1", sink.port),)))
    assert "self-signed certificate" in await world.send(verified(route))
    assert await world.send(route) == "TLS"
    assert "self-signed certificate" in await world.send(route, tls_policy={"127.0.0.1": "required"})


@pytest.mark.parametrize("server", EVERY)
async def test_tlsa_records_of_a_relay_decide_as_those_of_an_exchanger_do(world: World, server: str) -> None:
    """RFC 7672 2.2.1: of a next hop that is set the host itself is asked for, at its own port."""
    sink = await world.exchanger(EVERY[server])
    relay = Destination("relay", Relay((("localhost", sink.port),)))
    world.dns.put("localhost", {"A": ["127.0.0.1"]})
    world.tlsa(digest(SELF_SIGNED), host="localhost")
    reason = REASONS.get(server, "").replace("the settings", "DANE")
    for where in (relay, verified(relay)):
        said = await world.send(where, port=25)
        if server in ("old", "stripped", "broken"):
            assert said.startswith(reason)
        elif server == "self-signed":
            assert said == "TLS"
        else:
            assert "no TLSA record matches" in said


async def test_a_relay_without_records_is_as_the_settings_say(world: World) -> None:
    sink = await world.exchanger(SELF_SIGNED)
    where = Destination("relay", Relay((("localhost", sink.port),)))
    assert await world.send(where) == "TLS", "DNS does not know the name, the system does"
    world.dns.put("localhost", {"A": ["127.0.0.1"], "INSECURE": []})
    world.tlsa(digest(GOOD), host="localhost")
    assert await world.send(where) == "TLS", "nobody vouches for its records"
    said = await world.send(where, tls_policy={"localhost": "dane"})
    assert said == "451 4.7.0 DANE is set for localhost, and localhost has no usable TLSA records"
    said = await world.send(where, tls_policy={"localhost": "required"})
    assert "self-signed certificate" in said
    world.dns.put("localhost", {"A": ["127.0.0.1"]})
    assert "no TLSA record matches" in await world.send(where)
    assert await world.send(relaxed(where)) == "TLS"
    world.tlsa(host="localhost", RCODE=["SERVFAIL"])
    assert await world.send(where) == "451 4.7.0 DANE: the look-up of TLSA records of localhost failed"
    own = Destination("relay", Relay((("localhost", sink.port),), tls="none"))
    assert await world.send(own) == "TLS", "what is set for the relay itself counts"


async def test_nothing_vouches_for_an_address_literal(world: World) -> None:
    await world.exchanger(GOOD)
    assert (await world.send(verified(Destination("[127.0.0.1]")))).startswith("550 5.7.30")
    assert await world.send(Destination("[127.0.0.1]")) == "TLS"


POLICY = f"version: STSv1\nmode: enforce\nmx: {MX}\nmax_age: 86400\n".encode()
HOST = f"mta-sts.{SITE}"


@dataclass
class Web:
    """The domain's policy host, and what this process knows of it."""

    world: World
    storage: Storage
    server: PolicyServer
    clock: float = 0.0

    def publish(self, identity: str, policy: bytes = POLICY) -> None:
        self.server.policy = policy
        self.world.dns.put(f"_mta-sts.{SITE}", {"TXT": [f'"v=STSv1; id={identity};"']})
        self.world.dns.put(HOST, {"A": ["127.0.0.1"]})

    def restart(self, timeout: float = 60.0) -> None:
        """As of a process that knows only what the table has."""
        resolver = self.world.resolver(dnssec=False)
        hosts = PolicyHosts(resolver, ROOT.client(), timeout=timeout, port=self.server.port)
        self.world.promises = Promises(self.storage.sts_policies, resolver, hosts, lambda: self.clock)

    async def later(self, seconds: float) -> None:
        """For the table, and for this process's memory of it."""
        self.clock += seconds
        for column in ("expires_at", "refresh_at"):
            await self.storage._database.execute(
                f"UPDATE mta_sts_policy SET {column} = {column} - interval '{seconds} seconds'"
            )


@pytest_asyncio.fixture
async def web(world: World, storage: Storage, tmp_path: Path) -> AsyncIterator[Web]:
    async with PolicyServer(ROOT.issue(HOST).server(tmp_path)) as server:
        made = Web(world, storage, server)
        made.restart()
        yield made
    await storage._database.execute("TRUNCATE mta_sts_policy")


REFUSED = "454 4.7.5 TLS is required by MTA-STS: the certificate is refused: self-signed certificate"


@pytest.mark.postgres
async def test_a_policy_that_is_enforced_wants_a_certificate(web: Web) -> None:
    web.publish("1")
    reasons = {name: reason.replace("the settings", "MTA-STS") for name, reason in REASONS.items()}
    for server, shown in EVERY.items():
        await web.world.exchanger(shown)
        assert (await web.world.send(dnssec=False)).startswith(reasons.get(server, "TLS")), server
    assert web.server.requests == [f"GET /.well-known/mta-sts.txt HTTP/1.1 {HOST}"]


@pytest.mark.postgres
async def test_only_exchangers_of_the_policy_get_mail(web: Web) -> None:
    sink = await web.world.exchanger(ROOT.issue(MX, "b.mail.example"))
    web.publish("1", POLICY.replace(MX.encode(), b"*.mail.example"))
    assert await web.world.send() == f"451 4.7.5 MTA-STS: {MX} is no exchanger by the policy of {SITE}"
    assert sink.connections == 0
    web.world.dns.put(SITE, {"MX": [f"10 {MX}.", "20 b.mail.example."]})
    web.world.dns.put("b.mail.example", {"A": ["127.0.0.1"]})
    assert await web.world.send() == "TLS"


@pytest.mark.postgres
async def test_the_policy_of_a_relay_is_that_of_its_own_name(web: Web) -> None:
    """RFC 8461 3.4."""
    sink = await web.world.exchanger(SELF_SIGNED)
    async with PolicyServer(ROOT.issue("mta-sts.localhost").server(web.world.folder)) as server:
        mine = Web(web.world, web.storage, server)
        mine.restart()
        server.policy = POLICY.replace(MX.encode(), b"localhost")
        web.world.dns.put("_mta-sts.localhost", {"TXT": ['"v=STSv1; id=1;"']})
        web.world.dns.put("mta-sts.localhost", {"A": ["127.0.0.1"]})
        relay = Destination("relay", Relay((("localhost", sink.port),)))
        assert (await web.world.send(relay, dnssec=False)).startswith(REFUSED)
        assert await web.world.send(relay, dnssec=False, tls_policy={"localhost": "opportunistic"}) == "TLS"
        assert server.requests == ["GET /.well-known/mta-sts.txt HTTP/1.1 mta-sts.localhost"]


async def test_a_policy_in_testing_stops_nothing(web: Web) -> None:
    web.publish("1", POLICY.replace(b"enforce", b"testing"))
    for server, shown in EVERY.items():
        await web.world.exchanger(shown)
        said = await web.world.send(dnssec=False)
        assert said == "plain" if server in ("old", "stripped", "broken") else said == "TLS", server


@pytest.mark.postgres
async def test_dane_comes_before_mta_sts(web: Web) -> None:
    """RFC 8461 2: MTA-STS must not let through what DANE refuses; nor does it refuse what DANE vouches for."""
    await web.world.exchanger(SELF_SIGNED)
    web.publish("1")
    assert await web.world.send() == REFUSED
    web.world.tlsa(digest(SELF_SIGNED))
    assert await web.world.send() == "TLS"
    web.publish("2", POLICY.replace(MX.encode(), b"elsewhere.example"))
    assert await web.world.send() == "TLS"
    web.world.tlsa(digest(GOOD, usage=1))
    assert "MTA-STS" in await web.world.send(), "records that cannot be matched vouch for nobody"
    web.world.sinks[0].tls = GOOD.server(web.world.folder)
    web.world.tlsa(digest(EXPIRED))
    assert "required by DANE" in await web.world.send()


@pytest.mark.postgres
async def test_a_policy_is_kept_whatever_becomes_of_dns_and_web(web: Web) -> None:
    await web.world.exchanger(SELF_SIGNED)
    web.publish("1")
    assert await web.world.send() == REFUSED
    for kinds in ({}, {"RCODE": ["SERVFAIL"]}, {"TXT": ['"v=STSv1; id=2"']}):
        web.world.dns.put(f"_mta-sts.{SITE}", kinds)
        web.server.answer = text(b"", status="404 Not Found")
        web.restart()
        assert await web.world.send() == REFUSED
    await web.later(86_401)
    web.restart()
    assert await web.world.send() == "TLS", "it has expired"


@pytest.mark.postgres
async def test_a_new_id_is_a_new_policy(web: Web) -> None:
    await web.world.exchanger(SELF_SIGNED)
    web.publish("1")
    assert await web.world.send() == REFUSED
    web.publish("1", POLICY.replace(b"enforce", b"none"))
    await web.later(100)
    assert await web.world.send() == REFUSED, "the id is the same"
    web.publish("2", POLICY.replace(b"enforce", b"none"))
    web.restart()
    assert await web.world.send() == "TLS"
    assert len(web.server.requests) == 2


NO_ANSWERS = [
    (text(b"", status="302 Found\r\nLocation: https://127.0.0.1/"), "sts-policy-fetch-error", "the answer is 302"),
    (text(b"", status="500 No"), "sts-policy-fetch-error", "the answer is 500"),
    (text(POLICY, kind="text/html"), "sts-policy-fetch-error", "not text/plain"),
    (text(POLICY + b"x" * 70_000), "sts-policy-fetch-error", "longer than 64 kB"),
    (text(POLICY)[:-9], "sts-policy-fetch-error", ""),
    (b"SSH-2.0-OpenSSH\r\n\r\n", "sts-policy-fetch-error", ""),
    (text(b"<html>"), "sts-policy-invalid", "no field"),
]


@pytest.mark.postgres
async def test_what_is_no_answer_is_no_policy(web: Web) -> None:
    assert web.world.promises is not None
    web.publish("1")
    for number, (answer, result, reason) in enumerate(NO_ANSWERS, 1):
        web.server.answer = answer
        for _ in range(2):  # it is not asked again for a while
            found = await web.world.promises.of(SITE)
            assert found.policy is None
            assert found.fault is not None
            assert (found.fault.result, len(web.server.requests)) == (result, number)
            assert reason in found.fault.text
        web.clock += FAILED
    web.server.answer = None
    assert (await web.world.promises.of(SITE)).policy is not None


@pytest.mark.postgres
async def test_a_policy_host_that_says_nothing_is_not_waited_for(web: Web) -> None:
    web.restart(timeout=0.5)
    assert web.world.promises is not None
    web.publish("1")
    web.server.answer = SILENT
    found = await web.world.promises.of(SITE)
    assert found.policy is None
    assert found.fault is not None
    assert (found.fault.result, found.fault.text[-27:]) == (
        "sts-policy-fetch-error",
        "does not answer within 0.5 s"[-27:],
    )


@pytest.mark.postgres
async def test_a_policy_host_needs_a_certificate(world: World, storage: Storage) -> None:
    for identity in (SELF_SIGNED, ROOT.issue(HOST, days=2, age=10), ROOT.issue(MX)):
        async with PolicyServer(identity.server(world.folder)) as server:
            web = Web(world, storage, server)
            web.restart()
            web.publish("1")
            assert world.promises is not None
            found = await world.promises.of(SITE)
        assert found.fault is not None
        assert found.fault.result == "sts-webpki-invalid"
        assert server.requests == []


@pytest.mark.postgres
async def test_policies_are_fetched_again_before_they_expire(web: Web) -> None:
    promises = web.world.promises
    assert promises is not None
    web.publish("1")
    assert (await promises.of(SITE)).policy is not None
    assert await promises.refresh() == 0
    await web.later(43_200)
    web.publish("2", POLICY.replace(b"86400", b"90000"))
    web.restart()
    promises = web.world.promises
    assert await promises.refresh() == 1
    assert await promises.refresh() == 0
    kept = await web.storage.sts_policies.live(SITE)
    assert kept is not None
    assert (kept.id, kept.policy.max_age) == ("2", 90_000)
    await web.later(45_000)
    web.server.answer = text(b"", status="404 No")
    assert await promises.refresh() == 0
    assert await web.storage.sts_policies.live(SITE) == kept, "it holds until its end"
    await web.later(45_001)
    await promises.refresh()
    assert await web.storage._database.fetchval("SELECT count(*) FROM mta_sts_policy") == 0


@pytest.mark.postgres
async def test_a_policy_vouches_for_exchangers_of_requiretls(web: Web) -> None:
    await web.world.exchanger(GOOD)
    where = verified(Destination(SITE))
    web.publish("1", POLICY.replace(b"enforce", b"testing"))
    assert await web.world.send(where, dnssec=False, tls="none") == "TLS"
    web.publish("2", POLICY.replace(b"enforce", b"testing").replace(MX.encode(), b"elsewhere.example"))
    web.restart()
    assert (await web.world.send(where, dnssec=False)).startswith("550 5.7.30")


@pytest.mark.postgres
async def test_where_the_table_does_not_answer_nothing_is_sent(web: Web) -> None:
    class Away:
        async def live(self, domain: str) -> Any:
            raise Unavailable("the database is away")

    sink = await web.world.exchanger(GOOD)
    resolver = web.world.resolver()
    web.world.promises = Promises(Away(), resolver, PolicyHosts(resolver, ROOT.client(), timeout=60))  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        await web.world.send()
    assert sink.connections == 0
    assert await web.world.send(mta_sts=False, tls_policy={SITE: "opportunistic"}) == "TLS"


@dataclass
class Told:
    """What reports would tell: (domain, policy type, result), with what they are told by."""

    sessions: list[tuple[str, TlsSession]] = field(default_factory=list)

    def note(self, domain: str, session: TlsSession) -> None:
        self.sessions.append((domain, session))

    def taken(self) -> list[tuple[str, str]]:
        found = [(session.policy.type, session.result) for domain, session in self.sessions if domain == SITE]
        self.sessions.clear()
        return found


RESULTS = {
    "good": "",
    "self-signed": "certificate-not-trusted",
    "expired": "certificate-expired",
    "wrong-name": "certificate-host-mismatch",
    "old": "validation-failure",
    "stripped": "starttls-not-supported",
    "broken": "validation-failure",
}


async def test_every_session_is_told_with_its_result(world: World) -> None:
    world.told = told = Told()
    for server, shown in EVERY.items():
        await world.exchanger(shown)
        await world.send(dnssec=False)
        lax = "" if server in ("self-signed", "expired", "wrong-name") else RESULTS[server]
        assert told.taken() == [("no-policy-found", lax)], server
        world.tlsa(digest(GOOD))
        await world.send()
        strict = "validation-failure" if isinstance(shown, Identity) and server != "good" else RESULTS[server]
        assert told.taken() == [("tlsa", strict)], server
    world.tlsa(RCODE=["SERVFAIL"])
    await world.send()
    assert told.taken() == [("tlsa", "dnssec-invalid")]
    await world.exchanger(GOOD)
    world.tlsa(digest(GOOD, usage=1))
    await world.send()
    assert told.taken() == [("tlsa", "tlsa-invalid"), ("no-policy-found", "")]
    await world.send(tls_policy={SITE: "opportunistic"})
    await world.send(relaxed(Destination(SITE)))
    assert told.taken() == []


@pytest.mark.postgres
async def test_sessions_under_mta_sts_are_told(web: Web) -> None:
    world = web.world
    world.told = told = Told()
    web.publish("1", POLICY.replace(b"enforce", b"testing"))
    for server, shown in EVERY.items():
        await world.exchanger(shown)
        await world.send(dnssec=False)
        ((_, session),) = told.sessions
        assert told.taken() == [("sts", RESULTS[server])], server
        assert session.policy.strings == ("version: STSv1", "mode: testing", f"mx: {MX}", "max_age: 86400")
        if server != "good":
            assert (session.sending_ip, session.receiving_host, session.receiving_ip) == ("127.0.0.1", MX, "127.0.0.1")
    web.publish("2", b"nonsense")
    web.restart()
    await world.exchanger(GOOD)
    await world.send(dnssec=False)
    assert told.taken() == [("sts", "sts-policy-invalid"), ("sts", "")]
    web.publish("3", POLICY.replace(MX.encode(), b"elsewhere.example"))
    web.restart()
    await world.send(dnssec=False)
    assert told.taken() == [("sts", "validation-failure")]


@pytest.mark.postgres
async def test_a_message_that_needs_no_tls_goes_by_the_settings_alone(web: Web) -> None:
    await web.world.exchanger(SELF_SIGNED)
    web.publish("1")
    web.world.tlsa(digest(GOOD))
    where = relaxed(Destination(SITE))
    assert await web.world.send(where) == "TLS"
    assert "self-signed" in await web.world.send(where, tls="required")
    assert web.server.requests == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"A: b\r\nTLS-Required: No\r\n\r\nx", True),
        (b"tls-required:NO\r\n\r\n", True),
        (b"TLS-Required: No\r\n", True),
        (b"TLS-Required: Yes\r\n\r\n", False),
        (b"A: TLS-Required: No\r\n\r\n", False),
        (b"A: b\r\n\r\nTLS-Required: No\r\n", False),
        (b"", False),
    ],
)
def test_the_header_section_says_that_no_tls_is_needed(content: bytes, found: bool) -> None:
    assert needs_no_tls(content) is found


@pytest.mark.postgres
async def test_only_domains_that_ask_for_reports_are_counted(world: World, storage: Storage) -> None:
    tally = SessionTally(storage.tls_reports, world.resolver())
    world.dns.put(f"_smtp._tls.{SITE}", {"TXT": ['"v=TLSRPTv1; rua=mailto:tls@example.net"']})
    session = TlsSession(TlsPolicy("no-policy-found", SITE))
    for domain in (SITE, SITE, "silent.example"):
        tally.add(domain, session)
    await tally.flush()
    tally.add(SITE, session)
    await tally.close()
    rows = await storage._database.fetch("SELECT domain, sum(count) FROM tls_result GROUP BY domain")  # of any day
    assert [tuple(row) for row in rows] == [(SITE, 3)]
    await storage._database.execute("TRUNCATE tls_report, tls_result")
