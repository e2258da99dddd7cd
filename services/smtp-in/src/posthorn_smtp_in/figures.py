"""The metrics of smtp-in, made once for a process."""

from functools import lru_cache

from posthorn_node.metrics import Metrics


class Figures:
    """Counters and clocks; names and labels are part of the operator's contract."""

    def __init__(self, metrics: Metrics) -> None:
        self.connections = metrics.counter("smtp_in_connections_total", "Connections, by listener", ["listener"])
        self.refused = metrics.counter(
            "smtp_in_connections_refused_total", "Connections refused at the door", ["listener"]
        )
        self.sessions = metrics.gauge("smtp_in_sessions", "Open sessions", ["listener"])
        self.messages = metrics.counter(
            "smtp_in_messages_total", "Messages whose content was complete, by verdict", ["listener", "verdict"]
        )
        self.octets = metrics.counter("smtp_in_content_octets_total", "Octets of content received", ["listener"])
        self.recipients = metrics.counter("smtp_in_recipients_total", "Recipients, by verdict", ["listener", "verdict"])
        self.limited = metrics.counter("smtp_in_limited_total", "Commands refused by a rate, by whose", ["of"])
        self.logins = metrics.counter("smtp_in_logins_total", "AUTH exchanges, by result", ["listener", "result"])
        self.delivery = metrics.histogram("smtp_in_delivery_seconds", "From the end of content to its reply")
        self.filters = metrics.counter(
            "smtp_in_filter_results_total", "Opinions of content filters, by result", ["filter", "result"]
        )
        self.filter_time = metrics.histogram(
            "smtp_in_filter_seconds", "How long a content filter took for a message", ["filter"]
        )
        authentication = metrics.counter(
            "smtp_in_authentication_total", "Checks of who sent a message, by result", ["method", "result"]
        )
        self.authentication = lru_cache(maxsize=None)(authentication.labels)
        """By method and result; half a dozen are counted with each message."""
        self.bugs = metrics.counter("smtp_in_internal_errors_total", "Unforeseen errors answered with 451")
