"""Settings of [auth]: how failed logins are slowed, when no more of them are judged, and who is banned for them."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from posthorn_node.settings.server import Network
from posthorn_node.settings.values import Duration, Section, parse_duration, refused

_RATE = re.compile(r"(\d{1,9})\s*/\s*(\S{1,20})")
NO_RATE = "none"
MAX_PER_SECOND = 1000


def parse_rate(text: str) -> tuple[int, float] | None:
    """How many in how many seconds, from text like "100/1h"; None from "none". Raises PydanticCustomError."""
    if text == NO_RATE:
        return None
    match = _RATE.fullmatch(text.strip()) if len(text) < 64 else None
    period = parse_duration(match[2]) if match else 0.0
    if not match or not 1 <= period <= 31 * 86400 or not 1 <= int(match[1]) <= period * MAX_PER_SECOND:
        raise refused('not a rate: write how many in how long (1s to 31d), such as "100/1h", or "none"')
    return int(match[1]), period


def _rate(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    parse_rate(text)
    return text


Rate = Annotated[str, BeforeValidator(_rate)]
""""100/1h", or "none"; read it with parse_rate."""


class ThrottleSettings(Section):
    """[auth.throttle]: failed logins, counted for the whole cluster in the store that storage.lookup names."""

    address: Rate = "100/1h"
    """From one IPv4 address, or one /64 of IPv6, for accounts that were not logged in to from there in 30 days."""
    account: Rate = "50/1h"
    """For one account: from such addresses together, and from each where it was logged in to."""
    exempt_networks: tuple[Network, ...] = ()
    """Where many people come from one address: `address` is not for them, and they are not banned for failures."""
    delay: Annotated[Duration, Field(ge=0, le=60)] = 1.0
    """Before a failure is answered; doubles with each one of the address in 15 minutes, up to 16 times as long."""


class BanSettings(Section):
    """[auth.ban]: addresses with too many failed logins, which no node lets in for a while."""

    failures: Rate = "100/1d"
    """From one IPv4 address, or one /64 of IPv6, counted as of auth.throttle.address."""
    lasts: Annotated[Duration, Field(ge=1, le=366 * 86400)] = 86_400.0
    allowed_networks: tuple[Network, ...] = ("127.0.0.1/32", "::1/128")
    """No ban is for them, whoever made it."""


ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Of signatures that a public key verifies."""


def _url(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:
        host, parts = "", urlsplit("")
    if parts.scheme == "http" and host not in ("127.0.0.1", "::1", "localhost"):
        raise refused("tokens and keys go over TLS: write an https URL (http is for this machine alone)")
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise refused('not a URL: write it such as "https://id.example.org/keys"')
    return text


Url = Annotated[str, BeforeValidator(_url)]


class OauthSettings(Section):
    """[auth.oauth]: tokens of an identity provider, by which clients log in (OAUTHBEARER, XOAUTH2, HTTP Bearer)."""

    issuer: str = ""
    """What signed tokens (JWT, RFC 9068) must say in "iss"."""
    audience: str = ""
    """What tokens must say in "aud"."""
    jwks_url: Url = ""
    """Where the provider's public keys are (RFC 7517)."""
    algorithms: tuple[Literal[ALGORITHMS], ...] = ("RS256", "ES256")  # type: ignore[valid-type]
    introspection_url: Url = ""
    """Where the provider is asked about a token that is no signed one (RFC 7662)."""
    client_id: str = ""
    client_secret: SecretStr = SecretStr("")
    claim: Annotated[str, Field(min_length=1, max_length=100)] = "email"
    """Which claim is the account's address."""
    ca: Path | None = None
    timeout: Annotated[Duration, Field(gt=0, le=60)] = 5.0
    remember: Annotated[Duration, Field(ge=0, le=3600)] = 60.0
    """How long a verdict of the provider holds; no longer than the token itself."""

    @property
    def used(self) -> bool:
        """Whether tokens are taken at all."""
        return bool(self.jwks_url or self.introspection_url)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.jwks_url and not (self.issuer and self.audience):
            key = "audience" if self.issuer else "issuer"
            raise refused("is needed with jwks-url: whose tokens are taken, and which of them are for mail", key)
        if self.introspection_url and not (self.client_id and self.client_secret.get_secret_value()):
            raise refused("is needed with introspection-url: the provider asks who asks", "client-id")
        return self


class AuthSettings(Section):
    """[auth]."""

    throttle: ThrottleSettings = ThrottleSettings()
    ban: BanSettings = BanSettings()
    oauth: OauthSettings = OauthSettings()
