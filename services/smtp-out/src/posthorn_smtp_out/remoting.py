"""From the settings: which relays and sources there are, how each destination is spoken to, and how much of it."""

import ssl
from collections.abc import Callable, Mapping

from posthorn_model.sites import at_site
from posthorn_node.settings import Problem, SettingsError, parse_bind, parse_rate
from posthorn_smtp_out.pacing import Limits
from posthorn_smtp_out.remote import Login, Manners, client_context
from posthorn_smtp_out.resolver import Resolver
from posthorn_smtp_out.routes import Destination, Relay
from posthorn_smtp_out.settings import SiteSettings, SmtpOutSettings
from posthorn_smtp_out.sources import Source, Sources
from posthorn_smtp_out.tls.guard import Guard, Note
from posthorn_smtp_out.tls.policy_host import PolicyHosts
from posthorn_smtp_out.tls.promises import Promises
from posthorn_storage.queue import SendingTerms, SiteTerms
from posthorn_storage.sts_policies import StsPolicies


def relays(settings: SmtpOutSettings) -> Mapping[str, Relay]:
    """By name; `smtp-out.relay` with its login among them, if it is "host:port"."""
    found = {
        name: Relay(
            hosts=tuple(parse_bind(host) for host in each.hosts),
            lmtp=each.protocol == "lmtp",
            tls=each.tls,
            login=_login(each.login, each.password.get_secret_value()),
            source=each.source,
        )
        for name, each in settings.relays.items()
    }
    if settings.relay is not None and settings.relay not in found:
        login = _login(settings.relay_login, settings.relay_password.get_secret_value())
        found[settings.relay] = Relay((parse_bind(settings.relay),), login=login)
    return found


def sources(settings: SmtpOutSettings, hostname: str) -> Sources:
    """All sources, and whose mail leaves from which."""
    named = {name: Source(name, each.hello or hostname, each.addresses) for name, each in settings.sources.items()}
    domains = {domain.lower(): name for name, each in settings.sources.items() for domain in each.sender_domains}
    return Sources(hostname, named, domains, settings.source)


def manners(settings: SmtpOutSettings, hostname: str) -> Callable[[Destination], Manners]:
    """How each destination is spoken to; the source has the last word on the name we give."""
    contexts = {verify: client_context(verify=verify) for verify in (False, True)}

    def towards(destination: Destination) -> Manners:
        relay = destination.relay
        tls = (relay.tls if relay is not None else None) or settings.tls
        if destination.verified and tls != "implicit":
            tls = "required"
        return Manners(
            hello=hostname,
            tls="required" if tls == "encrypt" else tls,
            times=settings.timeouts,
            context=contexts[tls in ("required", "implicit")],
            login=relay.login if relay is not None else None,
            lmtp=relay is not None and relay.lmtp,
            chunking=settings.chunking,
        )

    return towards


def guard(
    settings: SmtpOutSettings, resolver: Resolver, promises: Promises | None = None, note: Note | None = None
) -> Guard:
    """What destinations must show. Raises SettingsError where DANE is set and no answer of DNS can be believed."""
    for domain, wish in settings.tls_policy.items():
        if wish == "dane" and not (settings.dane and resolver.dnssec):
            problem = "DANE needs smtp-out.dane, and resolver.dnssec with servers that validate"
            raise SettingsError([Problem("settings", 0, f"smtp-out.tls-policy.{domain}", problem)])
    return Guard(
        resolver,
        everybody=settings.tls,
        own=settings.tls_policy,
        dane=settings.dane,
        port=settings.port,
        promises=promises,
        note=note,
    )


def promises(
    settings: SmtpOutSettings, kept: StsPolicies, resolver: Resolver, context: ssl.SSLContext
) -> Promises | None:
    """What domains promise by MTA-STS; None where the settings do not ask for it."""
    if not settings.mta_sts:
        return None
    return Promises(kept, resolver, PolicyHosts(resolver, context, timeout=settings.mta_sts_timeout))


def limits(settings: SmtpOutSettings) -> Callable[[Destination], Limits]:
    """The limits of each destination."""
    sites = {name.lower(): each for name, each in settings.sites.items()}

    def towards(destination: Destination) -> Limits:
        own = at_site(sites, destination.key.lower()) or SiteSettings()
        rate = parse_rate(own.rate)
        return Limits(
            connections=own.connections or settings.connections_per_site,
            messages=own.messages_per_connection or settings.messages_per_connection,
            recipients=own.recipients_per_transaction or settings.recipients_per_transaction,
            interval=rate[1] / rate[0] if rate is not None else 0.0,
            idle=settings.connection_idle,
        )

    return towards


def spread_of(settings: SmtpOutSettings) -> Callable[[str], int | None]:
    """Over how many shards the settings want a site spread; None: it depends on how much is due."""
    sites = {name.lower(): each for name, each in settings.sites.items()}

    def wanted(site: str) -> int | None:
        own = at_site(sites, site)
        return None if own is None else own.spread

    return wanted


def sending_terms(settings: SmtpOutSettings) -> SendingTerms:
    """What others are told of the settings, who explain why something waits."""
    return SendingTerms(
        settings.retry,
        settings.expire,
        settings.connections_per_site,
        settings.messages_per_connection,
        sites={name.lower(): SiteTerms(each.connections, each.rate) for name, each in settings.sites.items()},
        routes={domain.lower(): route for domain, route in settings.routes.items()},
        relay=settings.relay,
        suppression=settings.suppression.mode,
    )


def _login(name: str, password: str) -> Login | None:
    return Login(name, password) if name else None
