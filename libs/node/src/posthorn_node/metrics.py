"""Prometheus metrics of one process: a registry of its own and factories that keep the names in one family."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

PREFIX = "posthorn_"
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds."""


class Metrics:
    """Makes metrics named posthorn_...; a name can be made once (ValueError otherwise)."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, *, process: bool = True) -> None:
        """`process`: whether memory, processor time and the like of this process are among them."""
        self.registry = CollectorRegistry()
        if process:
            ProcessCollector(registry=self.registry)
            GCCollector(registry=self.registry)

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(_full(name), text, labels, registry=self.registry)

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(_full(name), text, labels, registry=self.registry)

    def histogram(
        self, name: str, text: str, labels: Sequence[str] = (), *, buckets: Sequence[float] = LATENCY_BUCKETS
    ) -> Histogram:
        return Histogram(_full(name), text, labels, registry=self.registry, buckets=tuple(buckets))

    def exposition(self) -> bytes:
        """All metrics in the text format Prometheus scrapes."""
        return generate_latest(self.registry)


def _full(name: str) -> str:
    return name if name.startswith(PREFIX) else PREFIX + name
