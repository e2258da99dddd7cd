"""Settings of [smtp-out]: routes, limits towards a destination, retries and time limits."""

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from posthorn_node.settings import Bind, Duration, Section, refused

Route = Annotated[str, Field(min_length=1, max_length=300)]


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


class SmtpOutSettings(Section):
    """[smtp-out]."""

    relay: Bind | None = None
    """host:port that takes all mail for other sites; None: by MX."""
    relay_login: str = ""
    relay_password: SecretStr = SecretStr("")
    routes: dict[str, Route] = Field(default_factory=dict)
    """By domain, before the relay: "host:port", "mx" or "local"."""
    port: Annotated[int, Field(ge=1, le=65535)] = 25
    """Port of mail exchangers found in DNS."""
    tls: Literal["none", "opportunistic", "required"] = "opportunistic"
    """"required" also checks the certificate."""
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
    connections_per_site: Annotated[int, Field(ge=1, le=1000)] = 10
    messages_per_connection: Annotated[int, Field(ge=1, le=100_000)] = 100
    recipients_per_transaction: Annotated[int, Field(ge=1, le=1000)] = 100
    connection_idle: Duration = 10.0
    """How long an unused connection is kept for the next message; 0: not at all."""
    in_progress: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Recipients of one shard that are worked on at once."""
    poll: Annotated[Duration, Field(gt=0)] = 1.0
    """How often a shard is looked at when no event wakes it."""
    write_window: Annotated[Duration, Field(ge=0, le=1)] = 0.005
    """Outcomes within this time share one transaction."""
    timeouts: SendTimes = SendTimes()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.relay_login) != bool(self.relay_password.get_secret_value()):
            raise refused("relay-login and relay-password belong together", "relay-login")
        for domain, route in self.routes.items():
            if route not in ("mx", "local") and ":" not in route:
                raise refused('a route is "host:port", "mx" or "local"', f"routes.{domain}")
        return self
