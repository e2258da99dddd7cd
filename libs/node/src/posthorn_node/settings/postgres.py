"""Settings of a store of type "postgresql": its hosts, its connections by class of work, its read replicas."""

from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from posthorn_node.settings.values import Duration, Endpoint, RegionName, Section, parse_bind, refused

Connections = Annotated[int, Field(ge=1, le=1000)]


def _split(value: Any) -> Any:
    """Hosts as a list, or as one text with commas as libpq has it."""
    return [word.strip() for word in value.split(",")] if isinstance(value, str) else value


Hosts = Annotated[tuple[Endpoint, ...], BeforeValidator(_split), Field(min_length=1, max_length=16)]


class PoolSettings(Section):
    """Connections of one process; of a class of work, the most that it may have of them."""

    max_connections: Connections = 20
    interactive: Connections | None = None
    delivery: Connections | None = None
    queue: Connections | None = None
    maintenance: Connections | None = None
    mode: Literal["session", "transaction"] = "session"


class ReplicaSettings(Section):
    """When a read replica is read from; `connections` are those of one process to each replica."""

    wait: Duration = 0.05
    max_lag: Duration = 10.0
    connections: Connections | None = None
    regions: dict[Endpoint, RegionName] = Field(default_factory=dict)
    """Of those of read-replicas that stand in one."""


class PostgresStore(Section):
    """[store."NAME"] with type "postgresql": a whole `dsn`, or its parts."""

    type: Literal["postgresql"]
    region: RegionName = ""
    dsn: SecretStr | None = None
    host: Hosts = ("127.0.0.1",)
    port: Annotated[int, Field(ge=1, le=65535)] = 5432
    database: Annotated[str, Field(min_length=1)] = "posthorn"
    user: Annotated[str, Field(min_length=1)] = "posthorn"
    password: SecretStr = SecretStr("")
    tls: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = "prefer"
    pool: PoolSettings = PoolSettings()
    read_replicas: Annotated[tuple[Endpoint, ...], Field(max_length=16)] = ()
    replica: ReplicaSettings = ReplicaSettings()

    @model_validator(mode="after")
    def _replicas_exist(self) -> Self:
        for replica in self.replica.regions:
            if replica not in self.read_replicas:
                raise refused(f'read-replicas does not name "{replica}"', "replica")
        return self

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.dsn is None:
            return self
        if not self.dsn.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise refused("must start with postgresql://", "dsn")
        both = sorted(self.model_fields_set & {"host", "port", "database", "user", "password", "tls"})
        if both:
            raise refused("give either dsn or its parts, not both", both[0])
        return self

    def connection(self) -> str:
        """The DSN of the primary, with its password: keep it out of logs."""
        return self.dsn.get_secret_value() if self.dsn else self._dsn(self.host)

    def replica_connections(self) -> tuple[str, ...]:
        """The DSNs of the read replicas, with their password."""
        if self.dsn is None:
            return tuple(self._dsn((replica,)) for replica in self.read_replicas)
        parts = urlsplit(self.dsn.get_secret_value())
        login, _, hosts = parts.netloc.rpartition("@")
        port = 5432 if "," in hosts else (parts.port or 5432)
        # Which of its hosts the primary's DSN asks for says nothing about replicas.
        query = [pair for pair in parse_qsl(parts.query) if pair[0] != "target_session_attrs"]
        found = []
        for replica in self.read_replicas:
            place = _place(replica, port)
            netloc = f"{login}@{place}" if login else place
            found.append(parts._replace(netloc=netloc, query=urlencode(query)).geturl())
        return tuple(found)

    def _dsn(self, hosts: tuple[str, ...]) -> str:
        password = quote(self.password.get_secret_value(), safe="")
        login = quote(self.user, safe="") + (f":{password}" if password else "")
        places = ",".join(_place(host, self.port) for host in hosts)
        return f"postgresql://{login}@{places}/{quote(self.database, safe='')}?sslmode={self.tls}"


def _place(host: str, default_port: int) -> str:
    name, port = parse_bind(host, default_port=default_port)
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
