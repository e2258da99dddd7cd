"""What `posthorn up` was asked for, and what its words for other parts mean."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_model.cluster import SERVICES
from posthorn_node.settings import parse_bind

EMBEDDED_KAFKA = "kafka"
PEER_TO_PEER = "peer-to-peer"


@dataclass(frozen=True, slots=True)
class S3Place:
    """A bucket of an S3 server."""

    endpoint: str
    bucket: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The command line, judged. `bus` is "kafka", "peer-to-peer" or the address of a broker elsewhere."""

    data: Path
    cache: Path
    topology: Path | None = None
    """Describes all nodes; `nodes`, `scale` and `services` count only without it."""
    nodes: int = 1
    scale: Mapping[str, int] = field(default_factory=dict)
    services: tuple[str, ...] = SERVICES
    bus: str = EMBEDDED_KAFKA
    postgres: str | None = field(default=None, repr=False)
    postgres_programs: Path | None = None
    s3: S3Place | None = None
    ports: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict, repr=False)
    patience: float = 180.0
    """Seconds until every service must be ready."""


def s3_place(url: str) -> S3Place:
    """Read `http://ACCESS:SECRET@host:port/bucket?region=us-east-1`. Raises ClusterError."""
    parts = urlsplit(url)
    bucket = parts.path.strip("/")
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = None
    if parts.scheme not in ("http", "https") or not parts.hostname or not bucket or "/" in bucket or port is None:
        raise ClusterError("--s3: write http://ACCESS:SECRET@host:port/bucket (https for TLS)", code=2)
    if not parts.username or not parts.password:
        raise ClusterError("--s3: the access key and the secret key are missing: http://ACCESS:SECRET@host...", code=2)
    region = parse_qs(parts.query).get("region", ["us-east-1"])[0]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return S3Place(f"{parts.scheme}://{host}{port}", bucket, region, unquote(parts.username), unquote(parts.password))


def bus_choice(text: str) -> str:
    """Judge the value of --bus. Raises ClusterError."""
    if text in (EMBEDDED_KAFKA, PEER_TO_PEER):
        return text
    try:
        host, _ = parse_bind(text)
    except ValueError:
        host = ""
    if not host:
        raise ClusterError(f"--bus {text}: choose kafka, peer-to-peer, or the HOST:PORT of a Kafka broker", code=2)
    return text


def postgres_choice(dsn: str) -> str:
    """Judge the value of --postgres. Raises ClusterError; never shows the DSN, which may hold a password."""
    parts = urlsplit(dsn)
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not parts.path.strip("/"):
        raise ClusterError("--postgres: write postgresql://USER:PASSWORD@host:port/database", code=2)
    return dsn


def scale_choice(texts: list[str]) -> dict[str, int]:
    """Read `imap=4` of each --scale. Raises ClusterError."""
    found: dict[str, int] = {}
    for text in texts:
        service, equals, count = text.partition("=")
        if not equals or not count.isdigit() or len(count) > 3:
            raise ClusterError(f"--scale {text}: write SERVICE=COUNT, such as imap=4", code=2)
        if service not in SERVICES:
            raise ClusterError(f"--scale {text}: no service is called {service}: {', '.join(SERVICES)}", code=2)
        found[service] = int(count)
    return found
