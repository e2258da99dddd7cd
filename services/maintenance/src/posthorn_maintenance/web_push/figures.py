"""The numbers of push.send for Prometheus."""

from posthorn_node.metrics import Metrics


class Figures:
    """Made once a process."""

    def __init__(self, metrics: Metrics) -> None:
        self.sent = metrics.counter("push_sent", "Pushes by what came of them", ["result"])
        self.seconds = metrics.histogram("push_seconds", "How long a push took, with everything that it waited for")
        self.subscriptions = metrics.gauge("push_subscriptions", "Push subscriptions served here", ["shard"])
        self.behind = metrics.gauge(
            "push_subscriptions_behind",
            "Those of them that had not heard of all changes when last looked at",
            ["shard"],
        )
