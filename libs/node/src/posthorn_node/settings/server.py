"""Settings of [server]: the name shown, listeners, certificates, the node's own folder, and limits of leaving."""

import ipaddress
import socket
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from posthorn_node.settings.certificates import ServerTlsSettings
from posthorn_node.settings.values import Binds, Duration, Processes, Section, parse_bind, refused

ListenerProtocol = Literal["smtp", "submission", "lmtp", "imap", "pop3", "managesieve", "jmap", "dav", "api"]
HTTP_PROTOCOLS = frozenset({"jmap", "dav", "api"})
TlsMode = Literal["none", "starttls", "implicit"]


def _host_name() -> str:
    name = socket.gethostname()
    return name if "." in name else socket.getfqdn()


def _usual_tls(data: dict[str, Any]) -> TlsMode:
    return "none" if data.get("protocol") in HTTP_PROTOCOLS else "starttls"


def _network(value: Any) -> str:
    try:
        return str(ipaddress.ip_network(value if isinstance(value, str) else "", strict=False))
    except ValueError:
        raise refused('not a network: write it such as "10.0.0.0/8"') from None


Network = Annotated[str, BeforeValidator(_network)]


class ListenerSettings(Section):
    """[server.listener."NAME"]: addresses, the protocol spoken there and how TLS starts."""

    name: str = ""
    protocol: ListenerProtocol
    bind: Annotated[Binds, Field(min_length=1, max_length=64)]
    tls: TlsMode = Field(default_factory=_usual_tls)
    allow_plaintext_auth: bool = False
    proxy_networks: tuple[Network, ...] = ()
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 8192
    max_connections_per_address: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    certificate: Annotated[str, Field(max_length=255)] = ""
    """The name of the one that is shown here, whatever host a client asks for; empty: the one for that host."""
    reuse_port: bool = False
    url: Annotated[str, Field(pattern=r"^(https?://[^\s/]+(/[^\s]*)?)?$")] = ""

    @field_validator("tls", mode="before")
    @classmethod
    def _reference_form(cls, value: Any, info: ValidationInfo) -> Any:
        """`tls.implicit = true`, as the reference system writes it."""
        if not isinstance(value, dict):
            return value
        if set(value) != {"implicit"} or not isinstance(value["implicit"], bool):
            raise refused('must be "none", "starttls" or "implicit" (or tls.implicit = true)')
        return "implicit" if value["implicit"] else _usual_tls(info.data)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.tls == "starttls" and self.protocol in HTTP_PROTOCOLS:
            raise refused('HTTP has no STARTTLS: write "implicit" or "none"', "tls")
        if self.certificate and self.tls == "none":
            raise refused('needs TLS: write tls = "starttls" or "implicit"', "certificate")
        if self.max_connections_per_address is not None and self.protocol in HTTP_PROTOCOLS:
            raise refused("is not for HTTP listeners", "max-connections-per-address")
        return self

    def base_url(self, hostname: str) -> str:
        """The public URL, without a slash at its end: `url`, or else derived from the first bind."""
        if self.url:
            return self.url.rstrip("/")
        host, port = parse_bind(self.bind[0])
        shown = hostname if host in ("", "0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
        scheme, usual = ("https", 443) if self.tls == "implicit" else ("http", 80)
        return f"{scheme}://{shown}" if port == usual else f"{scheme}://{shown}:{port}"


class ServerSettings(Section):
    """[server]."""

    hostname: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:\[\]-]{1,255}$")] = Field(default_factory=_host_name)
    data: Path = Path("/var/lib/posthorn")
    tls: ServerTlsSettings = ServerTlsSettings()
    processes: Processes = 1
    """Of each service that does not say otherwise."""
    drain_delay: Duration = 5.0
    drain_limit: Duration = 30.0
    stop_limit: Duration = 10.0
    listener: dict[str, ListenerSettings] = Field(default_factory=dict)

    @property
    def end_limit(self) -> float:
        """Seconds from the first signal to the end, at the most: who kills a process must wait longer."""
        return self.drain_delay + self.drain_limit + self.stop_limit

    @field_validator("listener", mode="after")
    @classmethod
    def _named(cls, listeners: dict[str, ListenerSettings], info: ValidationInfo) -> dict[str, ListenerSettings]:
        """Give each listener its name, and HTTP listeners their URL."""
        hostname = info.data.get("hostname", "localhost")
        found = {}
        for name, listener in listeners.items():
            if listener.name not in ("", name):
                raise refused(f'the listener "{name}" takes its name from its table')
            url = listener.base_url(hostname) if listener.protocol in HTTP_PROTOCOLS else listener.url
            found[name] = listener.model_copy(update={"name": name, "url": url})
        return found
