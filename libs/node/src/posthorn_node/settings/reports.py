"""Settings of [reports]: what is told to the owners of other domains about their mail."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from posthorn_node.settings.values import Section, Size, refused


class DmarcReportSettings(Section):
    """[reports.dmarc]: aggregate reports, once a day, to domains that ask for them by rua= (RFC 7489 7.2)."""

    enable: bool = False
    sender: Annotated[str, Field(max_length=254)] = ""
    """Empty: postmaster at server.hostname."""
    organization: Annotated[str, Field(max_length=200)] = ""
    """Empty: server.hostname."""
    contact: Annotated[str, Field(max_length=200)] = ""
    max_size: Annotated[Size, Field(ge=10_000)] = 10 << 20
    """A message with a report that has more octets is not sent."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        local, at, domain = self.sender.rpartition("@")
        wrong = any(letter.isspace() or not letter.isprintable() for letter in self.sender)
        if self.sender and (not (local and at and domain) or wrong or not self.sender.isascii()):
            raise refused("is no mail address", "sender")
        return self


class ReportsSettings(Section):
    """[reports]."""

    dmarc: DmarcReportSettings = DmarcReportSettings()
