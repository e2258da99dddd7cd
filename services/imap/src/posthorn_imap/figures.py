"""The numbers this service tells Prometheus."""

from functools import cache

from posthorn_node.metrics import Metrics


class Figures:
    """Made once a process."""

    def __init__(self, metrics: Metrics) -> None:
        self.connections = metrics.gauge("imap_connections", "Open connections.", ["listener"])
        self.refused = metrics.counter("imap_connections_refused", "Connections over a limit.", ["listener"])
        self.logins = metrics.counter("imap_logins", "Logins by outcome.", ["listener", "outcome"])
        commands = metrics.counter("imap_commands", "Commands by verb and outcome.", ["verb", "outcome"])
        seconds = metrics.histogram("imap_command_seconds", "Time a command took.", ["verb"])
        # Kept: to look one up by its labels takes longer than to count.
        self._counted = cache(commands.labels)
        self._timed = cache(seconds.labels)
        self.appended = metrics.counter("imap_appended_bytes", "Octets of appended messages.")
        self.found_late = metrics.counter("imap_changes_found_late", "Accounts whose change no event told of.")
        self.bugs = metrics.counter("imap_internal_errors", "Errors nobody foresaw.")

    def answered(self, verb: str, outcome: str, seconds: float) -> None:
        """Count a command; there are as many verbs and outcomes as the protocol has."""
        self._counted(verb, outcome).inc()
        self._timed(verb).observe(seconds)
