"""Settings of [smtp-out]: routes, relays, sources, limits towards a destination, retries and time limits."""

import ipaddress
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from posthorn_node.settings import Binds, Duration, Rate, Section, ServiceSettings, parse_bind, refused

Route = Annotated[str, Field(min_length=1, max_length=300)]
Domain = Annotated[str, Field(min_length=1, max_length=255)]
Wish = Literal["none", "opportunistic", "encrypt", "required", "dane"]


def _address(value: Any) -> str:
    try:
        return str(ipaddress.ip_address(str(value)))
    except ValueError:
        raise refused("not an IP address of this machine") from None


class RelaySettings(Section):
    """[smtp-out.relays.NAME]: hosts that take mail for others."""

    hosts: Annotated[Binds, Field(min_length=1, max_length=20)]
    protocol: Literal["smtp", "lmtp"] = "smtp"
    tls: Literal["none", "opportunistic", "encrypt", "required", "implicit"] | None = None
    """None: as smtp-out.tls; "implicit" as "required", from the first octet."""
    login: str = ""
    password: SecretStr = SecretStr("")
    source: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.login) != bool(self.password.get_secret_value()):
            raise refused("login and password belong together", "login")
        return self


Limit = Annotated[int, Field(ge=1, le=1_000_000_000)]


class WarmUpSettings(Section):
    """[smtp-out.sources.NAME.warm-up]: messages of the first, second, ... day; then there is no limit."""

    since: date
    """Its first day, in UTC."""
    per_day: Annotated[tuple[Limit, ...], Field(max_length=366)] = ()
    per_hour: Annotated[tuple[Limit, ...], Field(max_length=366)] = ()
    """In each hour of that day."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.per_day and not self.per_hour:
            raise refused("per-day or per-hour says how much may be sent", "per-day")
        return self


class SourceSettings(Section):
    """[smtp-out.sources.NAME]: addresses that connections leave from."""

    addresses: Annotated[tuple[Annotated[str, BeforeValidator(_address)], ...], Field(max_length=100)] = ()
    hello: Annotated[str, Field(max_length=255, pattern=r"^[A-Za-z0-9.-]*$")] = ""
    """Said in EHLO; "": server.hostname."""
    sender_domains: tuple[str, ...] = ()
    """Mail of senders in these domains leaves from here."""
    warm_up: WarmUpSettings | None = None


class SendTimes(Section):
    """[smtp-out.timeouts]: the minimum of RFC 5321 4.5.3.2 for each step."""

    connect: Annotated[Duration, Field(gt=0)] = 30.0
    tls: Annotated[Duration, Field(gt=0)] = 60.0
    greeting: Annotated[Duration, Field(gt=0)] = 300.0
    command: Annotated[Duration, Field(gt=0)] = 300.0
    """EHLO, AUTH, MAIL, RCPT, RSET."""
    data: Annotated[Duration, Field(gt=0)] = 120.0
    block: Annotated[Duration, Field(gt=0)] = 180.0
    end: Annotated[Duration, Field(gt=0)] = 600.0
    """For the reply to the final dot."""


class SuppressionSettings(Section):
    """[smtp-out.suppression]: addresses that no mail is sent to any more."""

    mode: Literal["off", "observe", "enforce"] = "off"
    """"observe": bounces are entered, and what would be refused is told; "enforce": it fails at once."""
    per: Literal["domain", "sender"] = "domain"
    """Whose mail a bounce stops: that of the sender's whole domain, or of the sender's address."""
    expire: Annotated[Duration, Field(ge=60)] = 2_592_000.0
    """How long an entry of a bounce lasts."""


class SiteSettings(Section):
    """[smtp-out.sites.NAME]: limits of one destination, or of all below "*.domain"; None: as for everybody."""

    connections: Annotated[int, Field(ge=1, le=1000)] | None = None
    messages_per_connection: Annotated[int, Field(ge=1, le=100_000)] | None = None
    recipients_per_transaction: Annotated[int, Field(ge=1, le=1000)] | None = None
    rate: Rate = "none"
    """Transactions, evenly spaced."""
    spread: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Over how many queue shards its recipients are spread, of a site; 1: never."""


class SmtpOutSettings(ServiceSettings):
    """[smtp-out]."""

    relay: Route | None = None
    """host:port, or the name of one of `relays`, that takes all mail for other sites; None: by MX."""
    relay_login: str = ""
    relay_password: SecretStr = SecretStr("")
    routes: dict[str, Route] = Field(default_factory=dict)
    """By domain or "*.domain", before the relay: "host:port", the name of one of `relays`, "mx" or "local"."""
    relays: dict[str, RelaySettings] = Field(default_factory=dict)
    sources: dict[str, SourceSettings] = Field(default_factory=dict)
    source: str = ""
    """The name of the source for all that has no other; "": the system chooses the address."""
    prefer: Literal["ipv6", "ipv4"] = "ipv6"
    """Which of a mail exchanger's addresses is tried first; the other follows within a quarter of a second."""
    chunking: bool = True
    """BDAT where it is offered (RFC 3030)."""
    port: Annotated[int, Field(ge=1, le=65535)] = 25
    """Port of mail exchangers found in DNS."""
    tls: Literal["none", "opportunistic", "encrypt", "required"] = "opportunistic"
    """For everybody without a policy of their own. "required" also checks the certificate."""
    tls_policy: Annotated[dict[Domain, Wish], Field(max_length=100_000)] = Field(default_factory=dict)
    """By domain, or by the host of a route or of the relay: counts instead of what the domain publishes."""
    dane: bool = True
    """Obey TLSA records (RFC 7672) where resolver.dnssec lets them be believed."""
    mta_sts: bool = True
    """Obey MTA-STS policies (RFC 8461)."""
    mta_sts_timeout: Annotated[Duration, Field(gt=0, le=300)] = 30.0
    """For a policy to be fetched; mail for its domain waits for it."""
    retry: Annotated[tuple[Duration, ...], Field(min_length=1, max_length=100)] = (
        120.0,
        300.0,
        600.0,
        900.0,
        1800.0,
        3600.0,
        7200.0,
    )
    """Pause after the first, second, ... failed attempt; the last one repeats."""
    expire: Annotated[Duration, Field(gt=0)] = 432_000.0
    """Age at which a recipient fails for good (RFC 5321 4.5.4.1: at least 4 to 5 days)."""
    delay_notices: Annotated[tuple[Annotated[Duration, Field(gt=0)], ...], Field(max_length=10)] = (86_400.0, 259_200.0)
    """Ages at which a sender is told that a recipient still waits; empty: never."""
    connections_per_site: Annotated[int, Field(ge=1, le=1000)] = 10
    messages_per_connection: Annotated[int, Field(ge=1, le=100_000)] = 100
    recipients_per_transaction: Annotated[int, Field(ge=1, le=1000)] = 100
    connection_idle: Duration = 10.0
    """How long an unused connection is kept for the next message; 0: not at all."""
    sites: dict[str, SiteSettings] = Field(default_factory=dict)
    """By domain, "*.domain", "*", or the name of a relay."""
    spread: Annotated[int, Field(ge=1, le=1024)] = 4
    """Over how many queue shards a site is spread of which much is due."""
    spread_from: Annotated[int, Field(ge=0, le=1_000_000)] = 20_000
    """How many recipients that is; 0: none is spread by itself."""
    in_progress: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Recipients of one shard that are worked on at once."""
    poll: Annotated[Duration, Field(gt=0)] = 1.0
    """How often a shard is looked at when no event wakes it."""
    write_window: Annotated[Duration, Field(ge=0, le=1)] = 0.005
    """Outcomes within this time share one transaction."""
    timeouts: SendTimes = SendTimes()
    suppression: SuppressionSettings = SuppressionSettings()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.relay_login) != bool(self.relay_password.get_secret_value()):
            raise refused("relay-login and relay-password belong together", "relay-login")
        for key, route in (("relay", self.relay), *((f"routes.{domain}", to) for domain, to in self.routes.items())):
            if route is None or route in self.relays or (key != "relay" and route in ("mx", "local")):
                continue
            try:
                parse_bind(route)
            except ValueError:
                kinds = '"host:port" or the name of a relay' + ("" if key == "relay" else ', "mx" or "local"')
                raise refused(f'"{route}" is not {kinds}', key) from None
        if self.relay_login and self.relay in self.relays:
            raise refused("the login of a relay with a name stands in its own table", "relay-login")
        for key, source in (
            ("source", self.source),
            *((f"relays.{n}.source", r.source) for n, r in self.relays.items()),
        ):
            if source and source not in self.sources:
                raise refused(f'there is no [smtp-out.sources."{source}"]', key)
        return self
