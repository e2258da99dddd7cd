"""Settings of [auth]: how failed logins are slowed, when no more of them are judged, and who is banned for them."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

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


class AuthSettings(Section):
    """[auth]."""

    throttle: ThrottleSettings = ThrottleSettings()
    ban: BanSettings = BanSettings()
