"""Settings of [reports]: what is told to the owners of other domains about their mail."""

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from posthorn_node.settings.server import Network
from posthorn_node.settings.values import Duration, Section, Size, refused


def _address(value: str) -> str:
    local, at, domain = value.rpartition("@")
    wrong = any(letter.isspace() or not letter.isprintable() for letter in value)
    if value and (not (local and at and domain) or wrong or not value.isascii()):
        raise refused("is no mail address")
    return value


class DmarcReportSettings(Section):
    """[reports.dmarc]: aggregate reports, once a day, to domains that ask for them by rua= (RFC 7489 7.2)."""

    enable: bool = False
    sender: Annotated[str, Field(max_length=254), AfterValidator(_address)] = ""
    """Empty: postmaster at server.hostname."""
    organization: Annotated[str, Field(max_length=200)] = ""
    """Empty: server.hostname."""
    contact: Annotated[str, Field(max_length=200)] = ""
    max_size: Annotated[Size, Field(ge=10_000)] = 10 << 20
    """A message with a report that has more octets is not sent."""


class TlsReportSettings(Section):
    """[reports.tls]: how TLS with their servers went, once a day, to domains that ask for it (RFC 8460)."""

    enable: bool = False
    sender: Annotated[str, Field(max_length=254), AfterValidator(_address)] = ""
    """Empty: postmaster at server.hostname."""
    organization: Annotated[str, Field(max_length=200)] = ""
    """Empty: server.hostname."""
    contact: Annotated[str, Field(max_length=200)] = ""
    """Empty: the sender."""
    max_size: Annotated[Size, Field(ge=10_000)] = 10 << 20
    """A compressed report that has more octets is not sent."""
    timeout: Annotated[Duration, Field(gt=0, le=300)] = 30.0
    """For one report to be posted by HTTPS."""
    networks: tuple[Network, ...] = ()
    """That are not public, and may be posted to all the same."""
    ca: Path | None = None
    """PEM file of authorities for HTTPS instead of the system's."""

    def allowed(self) -> Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        """`networks`, as what they are."""
        return [ipaddress.ip_network(network) for network in self.networks]


class ReportsSettings(Section):
    """[reports]."""

    dmarc: DmarcReportSettings = DmarcReportSettings()
    tls: TlsReportSettings = TlsReportSettings()
