"""The numbers this service tells Prometheus."""

from posthorn_node.metrics import Metrics


class Figures:
    """Made once a process."""

    def __init__(self, metrics: Metrics) -> None:
        self.connections = metrics.gauge("dav_connections", "Open connections", ["listener"])
        self._requests = metrics.counter("dav_requests", "DAV requests answered", ["method", "status"])
        self._seconds = metrics.histogram("dav_request_seconds", "Time until the answer was there", ["method"])

    def answered(self, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(method, str(status)).inc()
        self._seconds.labels(method).observe(seconds)
