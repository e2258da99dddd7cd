"""Settings of [metrics.push]: where the holder of the role metrics.push sends the cluster's figures."""

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from posthorn_node.settings.values import Duration, Section, refused


class PushSettings(Section):
    """[metrics.push]. A Prometheus Pushgateway, or whatever takes a PUT of its form; without `url` nothing is sent."""

    url: Annotated[str, Field(max_length=1000)] = ""
    job: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{0,64}$")] = ""
    """The label `job`; empty: the cluster's name."""
    interval: Annotated[Duration, Field(ge=1)] = 30.0
    timeout: Annotated[Duration, Field(gt=0, le=60)] = 10.0
    username: Annotated[str, Field(max_length=255)] = ""
    password: SecretStr = SecretStr("")
    token: SecretStr = SecretStr("")
    ca: Path | None = None
    """PEM file of authorities instead of the system's."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if not self.url:
            return self
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            raise refused("is no URL", "url") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise refused("must begin with http:// or https:// and name a host", "url")
        if parts.username is not None or parts.password is not None:
            raise refused("must hold no password: use username and password, or token", "url")
        if parts.query or parts.fragment:
            raise refused("must have nothing after its path", "url")
        if self.username and self.token.get_secret_value():
            raise refused("give either username or token, not both", "token")
        return self
