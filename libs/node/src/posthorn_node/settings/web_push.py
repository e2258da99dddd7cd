"""Settings of [web-push]: pushes to the devices of JMAP clients (RFC 8620 7.2)."""

import ipaddress
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from posthorn_node.settings.server import Network
from posthorn_node.settings.values import Section


class WebPushSettings(Section):
    """[web-push]."""

    max_subscriptions: Annotated[int, Field(ge=1, le=1000)] = 20
    """Of one account."""
    networks: tuple[Network, ...] = ()
    """That are not public, and may be pushed to all the same."""

    def allowed(self) -> Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        """`networks`, as what they are."""
        return [ipaddress.ip_network(network) for network in self.networks]
