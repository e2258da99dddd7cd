"""How Redis is reached, for look-ups and as the coordinator: one server, sentinels that name a master, or a cluster."""

from typing import Annotated, Literal, Self
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from posthorn_node.settings.client_tls import ClientTlsSettings
from posthorn_node.settings.values import Section, one_or_more, refused

PORT = 6379
SENTINEL_PORT = 26379
_FORM = "must be redis://host:port, or rediss://host:port for TLS, with user:password@ before the host where needed"


class SentinelSettings(Section):
    """[store."NAME".sentinel]: then the urls are those of the sentinels."""

    master: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,100}$")] = ""
    """The name that the sentinels know the master under."""


class RedisServers(Section):
    """The keys that every Redis has."""

    urls: Annotated[tuple[SecretStr, ...], BeforeValidator(one_or_more), Field(min_length=1, max_length=100)]
    """Secret as a whole, for a password may stand in each."""
    sentinel: SentinelSettings = SentinelSettings()
    cluster: bool = False
    user: str = ""
    password: SecretStr = SecretStr("")
    tls: ClientTlsSettings = ClientTlsSettings()

    @model_validator(mode="after")
    def _agreeing(self) -> Self:
        urls = self._read()
        if len({url.scheme for url in urls}) > 1:
            raise refused("must all be redis://, or all rediss://", "urls")
        if self.cluster and self.sentinel.master:
            raise refused("give either cluster or sentinel.master, not both", "cluster")
        if self.cluster and any(url.path.strip("/") not in ("", "0") for url in urls):
            raise refused("a cluster has no numbered databases", "urls")
        if self.user and not self.password.get_secret_value():
            raise refused("a user needs a password", "user")
        if self.password.get_secret_value() and self.kind != "sentinel" and any(url.password for url in urls):
            raise refused("give it either here or in the urls, not both", "password")
        if not self.secured and self.tls.model_fields_set:
            raise refused("only used with rediss:// in the urls", "tls")
        return self

    @property
    def kind(self) -> Literal["server", "sentinel", "cluster"]:
        """What the urls are of. Several that are of no cluster are sentinels, and so is one on their usual port."""
        if self.cluster:
            return "cluster"
        urls = self._read()
        return "sentinel" if self.sentinel.master or len(urls) > 1 or urls[0].port == SENTINEL_PORT else "server"

    @property
    def secured(self) -> bool:
        """Whether TLS is spoken."""
        return self._read()[0].scheme == "rediss"

    def servers(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each url."""
        usual = SENTINEL_PORT if self.kind == "sentinel" else PORT
        return tuple((url.hostname or "", url.port or usual) for url in self._read())

    def login(self) -> tuple[str, str]:
        """User and password of the servers: those of the first url, unless they stand in keys of their own."""
        own = (self.user, self.password.get_secret_value())
        return own if any(own) or self.kind == "sentinel" else self._url_login()

    def sentinel_login(self) -> tuple[str, str]:
        """User and password of the sentinels."""
        return self._url_login() if self.kind == "sentinel" else ("", "")

    def _url_login(self) -> tuple[str, str]:
        url = self._read()[0]
        return unquote(url.username or ""), unquote(url.password or "")

    def _read(self) -> list[SplitResult]:
        return [_url(url.get_secret_value()) for url in self.urls]


def _url(text: str) -> SplitResult:
    """A URL of Redis. Raises PydanticCustomError, whose text does not hold it."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise refused(_FORM, "urls")
    database = parts.path.strip("/")
    if database and not (database.isascii() and database.isdigit() and len(database) < 6):
        raise refused("what follows the host and port must be the number of a database", "urls")
    return parts
