"""Settings of how records are written into DNS, for ACME and for DKIM."""

import base64
import binascii
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from posthorn_node.settings.values import Duration, Endpoint, Section, refused

TsigAlgorithm = Literal["hmac-sha256", "hmac-sha384", "hmac-sha512"]


class DnsSettings(Section):
    """[acme."NAME".dns], [dkim."DOMAIN".dns]: how records are written: by dynamic update (RFC 2136) or a command."""

    server: Endpoint | Literal[""] = ""
    """That takes updates of the zone; port 53 unless another is said."""
    zone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{0,253}$")] = ""
    key_name: str = ""
    key_secret: SecretStr = SecretStr("")
    """Of TSIG (RFC 8945), in base64."""
    key_algorithm: TsigAlgorithm = "hmac-sha256"
    command: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    propagation: Annotated[Duration, Field(le=600)] = 0.0
    """How long secondary servers may take."""

    @property
    def automatic(self) -> bool:
        """Whether there is a way at all."""
        return bool(self.server or self.command)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.server and self.command:
            raise refused("give either server or command, not both", "command")
        if bool(self.key_name) != bool(self.key_secret.get_secret_value()):
            raise refused("key-name and key-secret belong together", "key-secret" if self.key_name else "key-name")
        try:
            base64.b64decode(self.key_secret.get_secret_value(), validate=True)
        except binascii.Error:
            raise refused("not base64, as `tsig-keygen` prints it", "key-secret") from None
        return self
