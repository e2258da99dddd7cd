"""Settings of certificates: pairs of files in [server.tls], and [certificates] for those in the database."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from posthorn_node.settings.values import Section, refused

CertificateName = Annotated[
    str, Field(pattern=r"^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]{0,250}[A-Za-z0-9])?$"), AfterValidator(str.lower)
]
"""A host name as a certificate has it; the first label may be "*"."""


class CertificateFiles(Section):
    """[server.tls.certificates."NAME"]: a pair of PEM files for the host names of the certificate, or for `names`."""

    certificate: Path
    private_key: Path
    names: Annotated[tuple[CertificateName, ...], Field(max_length=1000)] = ()
    default: bool = False


class ServerTlsSettings(Section):
    """[server.tls]: PEM files. Without any a self-signed certificate for the host name is made in server.data."""

    certificate: Path | None = None
    private_key: Path | None = None
    certificates: Annotated[dict[str, CertificateFiles], Field(max_length=1000)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            key = "private-key" if self.certificate else "certificate"
            raise refused("certificate and private-key belong together", key)
        if sum(each.default for each in self.certificates.values()) > 1:
            raise refused("only one of them can be the default", "certificates")
        return self


MIN_SECRET = 16
"""Characters: what is shorter can be guessed by who has the database."""


class CertificatesSettings(Section):
    """[certificates]: the secret that keys in the database are sealed under; by default `cluster.secret`."""

    secret: SecretStr = SecretStr("")
    former_secrets: Annotated[tuple[SecretStr, ...], Field(max_length=10)] = ()
    """They still open what was sealed under them, until it is sealed anew."""

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if 0 < len(self.secret.get_secret_value()) < MIN_SECRET:
            raise refused(
                f"must have at least {MIN_SECRET} characters, such as `openssl rand -hex 32` prints", "secret"
            )
        return self
