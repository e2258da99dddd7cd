"""The numbers this service tells Prometheus."""

from posthorn_node.metrics import Metrics


class Figures:
    """Made once a process."""

    def __init__(self, metrics: Metrics) -> None:
        self.connections = metrics.gauge("jmap_connections", "Open connections", ["listener"])
        self.event_sources = metrics.gauge("jmap_event_sources", "Open event sources")
        self.missed = metrics.counter("jmap_missed_events", "Changes that only the self-check found; should be zero")
        self._requests = metrics.counter("jmap_requests", "HTTP requests answered", ["resource", "status"])
        self._seconds = metrics.histogram("jmap_request_seconds", "Time until the answer began", ["resource"])

    def answered(self, resource: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(resource, str(status)).inc()
        self._seconds.labels(resource).observe(seconds)
