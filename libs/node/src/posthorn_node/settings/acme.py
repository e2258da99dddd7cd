"""Settings of [acme."NAME"]: certificates that an authority gives by ACME (RFC 8555)."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from posthorn_node.settings.certificates import CertificateName
from posthorn_node.settings.dns_updates import DnsSettings
from posthorn_node.settings.values import Duration, Section, refused

ChallengeKind = Literal["http-01", "tls-alpn-01", "dns-01"]


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
        if self.dns.server and not self.dns.zone:
            raise refused("an update names the zone it changes: give dns.zone", "dns")
        for contact in self.contact:
            if "@" not in contact or any(letter.isspace() for letter in contact):
                raise refused(f'"{contact[:100]}" is no mail address', "contact")
        return self
