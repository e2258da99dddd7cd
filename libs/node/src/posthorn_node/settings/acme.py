"""Settings of [acme."NAME"]: certificates that an authority gives by ACME (RFC 8555)."""

import base64
import binascii
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from posthorn_node.settings.certificates import CertificateName
from posthorn_node.settings.values import Duration, Endpoint, Section, refused

ChallengeKind = Literal["http-01", "tls-alpn-01", "dns-01"]
TsigAlgorithm = Literal["hmac-sha256", "hmac-sha384", "hmac-sha512"]


class EabSettings(Section):
    """[acme."NAME".eab]: an account that the authority knows already (RFC 8555 7.3.4)."""

    kid: str = ""
    hmac_key: SecretStr = SecretStr("")
    """In base64url, as authorities show it."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.kid) != bool(self.hmac_key.get_secret_value()):
            raise refused("kid and hmac-key belong together", "hmac-key" if self.kid else "kid")
        return self


class DnsSettings(Section):
    """[acme."NAME".dns]: how TXT records are written for dns-01: by dynamic update (RFC 2136), or by a command."""

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

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.server and self.command:
            raise refused("give either server or command, not both", "command")
        if self.server and not self.zone:
            raise refused("an update names the zone it changes", "zone")
        if bool(self.key_name) != bool(self.key_secret.get_secret_value()):
            raise refused("key-name and key-secret belong together", "key-secret" if self.key_name else "key-name")
        try:
            base64.b64decode(self.key_secret.get_secret_value(), validate=True)
        except binascii.Error:
            raise refused("not base64, as `tsig-keygen` prints it", "key-secret") from None
        return self


class AcmeSettings(Section):
    """[acme."NAME"]: one certificate of that name, for all its domains."""

    directory: Annotated[str, Field(pattern=r"^https://[^\s]{1,1000}$")]
    domains: Annotated[tuple[CertificateName, ...], Field(min_length=1, max_length=100)]
    contact: Annotated[tuple[str, ...], Field(max_length=10)] = ()
    challenge: ChallengeKind = "tls-alpn-01"
    terms_agreed: bool = False
    renew_before: Annotated[Duration, Field(ge=60)] | None = None
    """None: a third of the certificate's life."""
    default: bool = False
    eab: EabSettings = EabSettings()
    dns: DnsSettings = DnsSettings()
    ca: Path | None = None
    """PEM file of the authorities to trust for the directory; None: those of the certifi list."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.terms_agreed:
            raise refused(
                "say true when you agree to the terms of the authority, without which it gives nothing", "terms-agreed"
            )
        wild = next((name for name in self.domains if name.startswith("*.")), None)
        if wild is not None and self.challenge != "dns-01":
            raise refused(f'authorities give {wild} for challenge = "dns-01" only', "domains")
        if self.challenge == "dns-01" and not (self.dns.server or self.dns.command):
            raise refused('challenge = "dns-01" needs dns.server and dns.zone, or dns.command', "dns")
        for contact in self.contact:
            if "@" not in contact or any(letter.isspace() for letter in contact):
                raise refused(f'"{contact[:100]}" is no mail address', "contact")
        return self
