"""Settings of [smtp-in.auth]: which checks are made on whom, and what a failure means."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from posthorn_node.settings import Duration, Network, Section, refused

Mode = Literal["off", "relaxed", "strict"]
Domain = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")]

PRIVATE = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)
"""Networks whose addresses no domain in DNS can speak of."""


class AuthenticationSettings(Section):
    """[smtp-in.auth]: "off" does not look, "relaxed" looks and tells, "strict" refuses what fails.

    Of DMARC, "relaxed" puts what a domain wants refused or quarantined into the mailbox for junk.
    """

    spf: Mode = "relaxed"
    dkim: Mode = "relaxed"
    dmarc: Mode = "strict"
    arc: Mode = "relaxed"
    iprev: Mode = "relaxed"
    listeners: tuple[str, ...] = ()
    """Names of listeners whose clients are judged; empty: all of the protocol smtp."""
    exempt_networks: Annotated[tuple[Network, ...], Field(max_length=1000)] = PRIVATE
    """Clients there are not judged; nor are those of smtp-in.relay.networks, nor who has logged in."""
    trusted_sealers: Annotated[tuple[Domain, ...], Field(max_length=1000)] = ()
    """Domains whose ARC seals are believed: what they say passed does not fail DMARC."""
    timeout: Annotated[Duration, Field(gt=0, le=60)] = 10.0
    """For each check; what is not known by then is a temporary error."""
    public_suffix_list: Path | None = None
    """A file in place of the list that comes with Posthorn; read again when it has changed."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.dmarc != "off" and "off" in (self.spf, self.dkim):
            raise refused('DMARC judges by SPF and DKIM: set spf and dkim to "relaxed", or dmarc to "off"', "dmarc")
        return self
