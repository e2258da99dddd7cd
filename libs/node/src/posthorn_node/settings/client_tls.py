"""The files of a TLS client, the same keys wherever a server is spoken to."""

from pathlib import Path
from typing import Self

from pydantic import model_validator

from posthorn_node.settings.values import Section, refused


class ClientTlsSettings(Section):
    """TLS towards a server. Without `ca` the system's authorities are trusted."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise refused("a client certificate needs both cert and key", "key" if self.cert else "cert")
        return self
