"""Settings of [web-push]: pushes to the devices of JMAP clients (RFC 8620 7.2, RFC 8030)."""

import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from posthorn_node.settings.server import Network
from posthorn_node.settings.values import Duration, Section, refused

_CONTACT = re.compile(r"(mailto:[^\s@<>]{1,64}@[^\s@<>]{1,255}|https://[^\s<>]{1,500})?")


def _contact(value: str) -> str:
    if not _CONTACT.fullmatch(value) or not value.isascii():
        raise refused('must be "mailto:" and an address, or a URL that begins with https://')
    return value


class WebPushSettings(Section):
    """[web-push]. jmap keeps the limits of subscriptions, the holder of push.send the rest."""

    contact: Annotated[str, Field(max_length=600), AfterValidator(_contact)] = ""
    """Whom a push service may ask (RFC 8292 2.1); empty: postmaster at the host name."""
    max_subscriptions: Annotated[int, Field(ge=1, le=1000)] = 20
    """Of one account."""
    networks: tuple[Network, ...] = ()
    """That are not public, and may be pushed to all the same."""
    ca: Path | None = None
    """PEM file of authorities instead of the system's."""
    delay: Annotated[Duration, Field(ge=0.01, le=60)] = 1.0
    """Changes of an account within this time are one push."""
    interval: Annotated[Duration, Field(ge=1, le=3600)] = 30.0
    """How often is looked for changes that no event told of."""
    timeout: Annotated[Duration, Field(gt=0, le=60)] = 10.0
    """For one push, from the question for the address to the answer."""
    connections: Annotated[int, Field(ge=1, le=1000)] = 50
    """Pushes of one process at once."""
    ttl: Annotated[Duration, Field(ge=60, le=28 * 86_400)] = 86_400.0
    """How long a push service keeps a push for a device that is not reached (TTL, RFC 8030 5.2)."""

    def allowed(self) -> Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        """`networks`, as what they are."""
        return [ipaddress.ip_network(network) for network in self.networks]
