"""acme.renew: orders the certificates of [acme."NAME"], and renews them in time (RFC 8555, RFC 9773).

One certificate after the other, each as far as it goes:
1. Is it due? Missing, of other names, near its end, advised by the authority, or wished for.
2. The account: its key is stored before the authority hears of it.
3. The order: the certificate's key is stored before it is placed, its URL right after.
4. Each name is shown to be ours: what to answer is in the database (or in DNS) before the authority is told to look.
5. The certificate is asked for, fetched, stored under the lease, and told to all nodes.
Killed at any point the next holder goes on: what 2 and 3 have stored is used again. What a late holder brings back is
refused by the lease. A failure is kept with the time of the next try; the pauses grow from failure to failure.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from posthorn_assembly.notices import CERTIFICATES
from posthorn_maintenance import dns_records as records
from posthorn_maintenance.acme import renewal
from posthorn_maintenance.acme.authority import NO_ACCOUNT, Authority, Authorization, Challenge, Order, dns_value
from posthorn_maintenance.jobs.job import Progress, Tenure
from posthorn_model.errors import AlreadyExists, AuthorityRefused, LeaseLost, PosthornError, Unavailable
from posthorn_model.events import Control
from posthorn_node.certificates import parsed
from posthorn_node.challenges import ANSWERS
from posthorn_node.errors import TlsError
from posthorn_node.metrics import Metrics
from posthorn_node.settings import AcmeSettings
from posthorn_storage import Storage
from posthorn_storage.certificates import CertificateRecord, NewCertificate
from posthorn_storage.certificates.orders import AcmeAccount, AcmeOrder

LOOK_PAUSES: Final = (0.25, 0.5, 1.0, 2.0, 3.0, *(5.0 for _ in range(20)))
"""Between the questions whether the authority is done; after the last one it is left for the next round."""
LISTENER_PAUSES: Final = tuple(1.0 for _ in range(30))
"""Between the looks whether a listener answers."""
CHALLENGE_LIFETIME: Final = 3600.0
ASK_AT_LEAST: Final = 600.0
ASK_AT_MOST: Final = 86_400.0


class _HandedOver(Exception):
    """The role is to be handed over: the next holder goes on."""


@dataclass(frozen=True, slots=True)
class _Work:
    """One certificate while it is ordered."""

    tenure: Tenure
    name: str
    settings: AcmeSettings
    authority: Authority
    key: bytes
    """The certificate's, in PEM."""


class Acme:
    """The job's step over `providers`, by name. `publish` tells all nodes of a new certificate."""

    def __init__(
        self,
        storage: Storage,
        providers: Mapping[str, AcmeSettings],
        metrics: Metrics,
        publish: Callable[[Control], None],
    ) -> None:
        self._certificates = storage.certificates
        self._orders = storage.acme
        self._nodes = storage.nodes
        self._providers = providers
        self._publish = publish
        self._issued = metrics.counter("acme_issued", "Certificates that an authority has given", ["name"])
        self._failed = metrics.counter("acme_failures", "Attempts to get a certificate that failed", ["name"])

    async def step(self, tenure: Tenure, cursor: str) -> Progress:
        """Look after the certificate that comes after `cursor`."""
        names = [
            name
            for number, name in enumerate(sorted(self._providers))
            if number % tenure.share.parts == tenure.share.part and name > cursor
        ]
        if not names or not self._certificates.keys.usable:
            return Progress()
        issued, problem = await self._look_after(tenure, names[0])
        return Progress(names[0] if len(names) > 1 else "", int(issued), problem)

    async def _look_after(self, tenure: Tenure, name: str) -> tuple[bool, str | None]:
        """Whether a certificate was issued, and what went wrong."""
        order: AcmeOrder | None = None
        try:
            order = await self._orders.order(name)
            if order is not None and order.waits:
                return False, None
            record = next(iter(await self._certificates.load([name])), None)
            if record is not None and record.state == "revoked":
                await self._revoke(tenure, name, record)
                record = None
            if (order is None or order.url is None) and not self._due(name, record, order):
                await self._ask(tenure, name, record, order)
                return False, None
            await self._issue(tenure, name, order)
            return True, None
        except _HandedOver:
            return False, None
        except LeaseLost:
            raise
        except PosthornError as error:
            return False, await self._note(tenure, name, error, 0 if order is None else order.failures)

    def _due(self, name: str, record: CertificateRecord | None, order: AcmeOrder | None) -> bool:
        if record is None:
            return True
        if record.source != "acme":
            raise AlreadyExists(
                f"a certificate of the name {name} was imported: remove it, or give [acme] another name", name=name
            )
        settings = self._providers[name]
        if record.names != frozenset(settings.domains) or (order is not None and order.wished):
            return True
        # This process's clock: it is about days, and at worst a certificate is renewed a little early or late.
        return datetime.now(UTC) >= renewal.renewal_time(record.not_before, record.not_after, settings.renew_before)

    async def _revoke(self, tenure: Tenure, name: str, record: CertificateRecord) -> None:
        """Nobody shows it any more; the authority is told, and then it goes."""
        settings = self._providers[name]
        account = await self._account(tenure, name, settings)
        with _authority(settings, account.key, account.url) as authority:
            await authority.revoke(record.chain)
        await self._certificates.remove_revoked(tenure.fence, name)
        tenure.log.info("certificate revoked", certificate=name)

    async def _ask(self, tenure: Tenure, name: str, record: CertificateRecord | None, order: AcmeOrder | None) -> None:
        """Ask the authority for its advice, when it is time to; it need not have any."""
        if record is None or (order is not None and order.ask_at is not None and order.ask_at > datetime.now(UTC)):
            return
        with _authority(self._providers[name], await asyncio.to_thread(_new_key), "") as authority:
            at, again = await authority.renewal(record.chain)
        await self._orders.advised(tenure.fence, name, at, min(max(again, ASK_AT_LEAST), ASK_AT_MOST))
        if at is not None:
            tenure.log.info("the authority advises when to renew", certificate=name, at=at.isoformat())

    async def _note(self, tenure: Tenure, name: str, error: PosthornError, failures: int) -> str:
        """Keep what went wrong, and when to try again."""
        refused = error if isinstance(error, AuthorityRefused) else None
        asked = refused.retry_after if refused else 0.0
        seconds = renewal.pause(failures + 1, refused=refused is not None, asked=asked)
        await self._orders.failed(
            tenure.fence, name, error.public, seconds, abandon=refused is not None and refused.dead
        )
        self._failed.labels(name).inc()
        tenure.log.error(
            "certificate not issued, it is tried again",
            certificate=name,
            reason=error.public,
            again_in=round(seconds),
            **error.fields,
        )
        return f"{name}: {error.public}"

    async def _issue(self, tenure: Tenure, name: str, order: AcmeOrder | None) -> None:
        settings = self._providers[name]
        account = await self._account(tenure, name, settings)
        with _authority(settings, account.key, account.url) as authority:
            same = order is not None and order.domains == settings.domains
            key = order.key if order is not None and same and order.key else await asyncio.to_thread(_new_key)
            work = _Work(tenure, name, settings, authority, key)
            try:
                placed = await self._placed(work, order.url if order is not None and same else None)
                await self._shown(work, placed)
                chain = await self._fetched(work, placed)
            except AuthorityRefused as refusal:
                if refusal.fields.get("code") == NO_ACCOUNT:
                    forgotten = AcmeAccount(account.key, "")
                    await self._orders.put_account(tenure.fence, name, settings.directory, forgotten)
                raise
        await self._store(work, chain)

    async def _account(self, tenure: Tenure, name: str, settings: AcmeSettings) -> AcmeAccount:
        account = await self._orders.account(name, settings.directory)
        if account is None:
            account = AcmeAccount(await asyncio.to_thread(_new_key), "")
            await self._orders.put_account(tenure.fence, name, settings.directory, account)
        if not account.url:
            with _authority(settings, account.key, "") as authority:
                account = AcmeAccount(account.key, await authority.register())
            await self._orders.put_account(tenure.fence, name, settings.directory, account)
            tenure.log.info("account with an authority made", certificate=name, account=account.url)
        return account

    async def _placed(self, work: _Work, url: str | None) -> Order:
        """The order that is under way, or a new one."""
        fence, domains = work.tenure.fence, work.settings.domains
        if url is not None:
            placed = await work.authority.order_at(url)
        else:
            await self._orders.begun(fence, work.name, domains, work.key, None)
            placed = await work.authority.place(_request(work.key, domains))
            await self._orders.begun(fence, work.name, domains, work.key, placed.url)
            work.tenure.log.info("certificate ordered", certificate=work.name, order=placed.url)
        if placed.status == "invalid":
            raise AuthorityRefused(f"the order is dead: {placed.problem or 'the authority does not say why'}")
        return placed

    async def _shown(self, work: _Work, placed: Order) -> None:
        """Show that every name is ours. In the end what shows it goes, also what a former holder has left."""
        kind = work.settings.challenge
        wanted = [await work.authority.authorization(url) for url in placed.authorizations]
        open_ones = [each for each in wanted if each.status == "pending"]
        for each in open_ones:
            if kind not in each.challenges:
                offered = ", ".join(sorted(each.challenges))
                raise AuthorityRefused(f"the authority does not offer {kind} for {each.name}, but {offered}")
        shown = [each for each in wanted if kind in each.challenges]
        goes_on = False
        try:
            if open_ones:
                await self._prove(work, open_ones, [each.challenges[kind] for each in open_ones])
        except (_HandedOver, LeaseLost):
            # Whoever has the role next goes on with this order, and the authority may be looking at this moment.
            goes_on = True
            raise
        finally:
            if not goes_on:
                await self._withdraw(work, shown, [each.challenges[kind] for each in shown])

    async def _prove(self, work: _Work, wanted: Sequence[Authorization], challenges: Sequence[Challenge]) -> None:
        """Have the authority look, and wait until it has."""
        await self._answer(work, wanted, challenges)
        for challenge in challenges:
            if challenge.status == "pending":
                await work.authority.answered(challenge)
        for each in wanted:
            await self._looked_at(work, each)

    async def _answer(self, work: _Work, wanted: Sequence[Authorization], challenges: Sequence[Challenge]) -> None:
        """Have the answers where the authority will look."""
        kind, authority = work.settings.challenge, work.authority
        if kind == "dns-01":
            await records.change(work.settings.dns, "add", _records(authority, wanted, challenges))
            await _wait(work.tenure, work.settings.dns.propagation)
            return
        await self._awaited(work)
        keys = [each.name for each in wanted] if kind == "tls-alpn-01" else [each.token for each in challenges]
        contents = [authority.authorization_of(each.token) for each in challenges]
        answers = dict(zip(keys, contents, strict=True))
        await self._orders.put_challenges(work.tenure.fence, kind, work.name, answers, CHALLENGE_LIFETIME)

    async def _awaited(self, work: _Work) -> None:
        """Wait until a listener answers: a cluster that starts may have none yet, and a failed look costs minutes."""
        kind = work.settings.challenge
        for seconds in LISTENER_PAUSES:
            if any(each.live and kind in each.address.get(ANSWERS, ()) for each in await self._nodes.all()):
                return
            await _wait(work.tenure, seconds)
        raise Unavailable(
            f"no listener of any node answers {kind}: start jmap, dav or maintenance with a listener of that kind"
        )

    async def _withdraw(self, work: _Work, wanted: Sequence[Authorization], challenges: Sequence[Challenge]) -> None:
        """Take the answers away; one that stays harms nobody, and that it does is told."""
        try:
            if work.settings.challenge == "dns-01":
                await records.change(work.settings.dns, "remove", _records(work.authority, wanted, challenges))
            else:
                await self._orders.remove_challenges(work.name)
        except PosthornError as error:
            work.tenure.log.warning(
                "answers to challenges were not removed", certificate=work.name, reason=error.public
            )

    async def _looked_at(self, work: _Work, wanted: Authorization) -> None:
        """Wait until the authority has seen that a name is ours. Raises AuthorityRefused when it has not."""
        for seconds in LOOK_PAUSES:
            found = await work.authority.authorization(wanted.url)
            if found.status == "valid":
                return
            if found.status != "pending":
                raise AuthorityRefused(f"{found.name} is {found.status}: {found.problem}", name=found.name)
            await _wait(work.tenure, seconds)
        raise Unavailable(f"the authority has not looked at {wanted.name} yet")

    async def _fetched(self, work: _Work, placed: Order) -> bytes:
        """The chain of an order whose names are shown to be ours."""
        for seconds in LOOK_PAUSES:
            found = await work.authority.order_at(placed.url)
            if found.status == "valid" and found.certificate:
                return await work.authority.certificate(found.certificate)
            if found.status == "invalid":
                raise AuthorityRefused(f"the order is dead: {found.problem}")
            if found.status == "ready":
                await work.authority.finalize(found, _request(work.key, work.settings.domains))
                continue
            await _wait(work.tenure, seconds)
        raise Unavailable("the authority has not made the certificate yet")

    async def _store(self, work: _Work, chain: bytes) -> None:
        """Keep it, then tell: a node that hears of it must find it."""
        domains = work.settings.domains
        try:
            found = parsed(work.name, chain, work.key, names=domains, default=work.settings.default)
        except TlsError as error:
            raise AuthorityRefused(f"what the authority sent cannot be used: {error}") from error
        new = NewCertificate(
            name=work.name,
            names=found.names,
            chain=found.chain,
            key=found.key,
            issuer=found.issuer,
            not_before=datetime.fromtimestamp(found.not_before, UTC),
            not_after=datetime.fromtimestamp(found.not_after, UTC),
            source="acme",
            provider=work.name,
            default=work.settings.default,
        )
        fence = work.tenure.fence
        await self._certificates.put(new, fence)
        await self._orders.done(fence, work.name)
        self._publish(Control(CERTIFICATES))
        self._issued.labels(work.name).inc()
        work.tenure.log.info("certificate issued", certificate=work.name, until=new.not_after.isoformat())


@contextmanager
def _authority(settings: AcmeSettings, key: bytes, url: str) -> Iterator[Authority]:
    authority = Authority(settings, key, url)
    try:
        yield authority
    finally:
        authority.close()


async def _wait(tenure: Tenure, seconds: float) -> None:
    """Raises _HandedOver when the role is to be handed over."""
    if seconds:
        await tenure.pause(seconds)
    if tenure.ending:
        raise _HandedOver


def _records(
    authority: Authority, wanted: Sequence[Authorization], challenges: Sequence[Challenge]
) -> list[records.Record]:
    return [
        (f"_acme-challenge.{each.name}", dns_value(authority.authorization_of(challenge.token)))
        for each, challenge in zip(wanted, challenges, strict=True)
    ]


def _new_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _request(key: bytes, domains: Sequence[str]) -> bytes:
    """A certificate signing request (RFC 2986) for these names, in PEM."""
    private = load_pem_private_key(key, password=None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    names = x509.SubjectAlternativeName([x509.DNSName(name) for name in domains])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=False)
    return builder.sign(private, SHA256()).public_bytes(Encoding.PEM)
