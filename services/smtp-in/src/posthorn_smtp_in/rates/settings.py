"""Settings of [smtp-in.rates]: counted for the whole cluster, in the store that storage.lookup names."""

from typing import Annotated

from pydantic import Field

from posthorn_node.settings import Network, Rate, Section


class Rates(Section):
    """Of one kind of who is counted: MAIL and RCPT commands that are accepted, "none" for no limit."""

    messages: Rate = "none"
    recipients: Rate = "none"


class RateSettings(Section):
    """[smtp-in.rates]."""

    connections_per_address: Annotated[int, Field(ge=0, le=1000)] = 200
    """At once, over listeners of the protocols smtp and submission; 0: no limit."""
    address: Rates = Rates(messages="300/1m", recipients="3000/1m")
    """Of one IPv4 address, or one /64 of IPv6, over listeners of the protocol smtp."""
    login: Rates = Rates(messages="300/1h", recipients="2000/1h")
    """Of one account, on submission."""
    sender_domain: Rates = Rates()
    """Of one domain in MAIL, over listeners of the protocol smtp."""
    recipient: Rate = "1000/1h"
    """Messages for one address of the cluster."""
    exempt_networks: Annotated[tuple[Network, ...], Field(max_length=1000)] = ("127.0.0.0/8", "::1/128")
    """Clients there are counted by their login alone."""
