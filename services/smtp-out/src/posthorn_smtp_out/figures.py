"""The metrics of smtp-out, made once for a process."""

from posthorn_node.metrics import Metrics


class Figures:
    """Counters and clocks; names and labels are part of the operator's contract."""

    def __init__(self, metrics: Metrics) -> None:
        self.attempts = metrics.counter("smtp_out_attempts_total", "Transactions attempted, by route", ["route"])
        self.replies = metrics.counter(
            "smtp_out_recipient_outcomes_total", "Outcomes of attempts for recipients, by class", ["outcome"]
        )
        self.classes = metrics.counter(
            "smtp_out_refusals_total",
            "Refusals for recipients, by outcome and class of the reply",
            ["outcome", "class"],
        )
        self.double_bounces = metrics.counter(
            "smtp_out_double_bounces_total", "Reports that could not be delivered and were dropped"
        )
        self.suppressed = metrics.counter(
            "smtp_out_suppressed_total",
            "Recipients of the suppression list: refused, observed (would be), entered by a bounce",
            ["what"],
        )
        self.warm_up = metrics.counter(
            "smtp_out_warm_up_total", "Messages of sources that are being warmed up: sent, put-off", ["source", "what"]
        )
        self.in_doubt = metrics.counter(
            "smtp_out_in_doubt_total", "Recipients sent again though the remote may have the message"
        )
        self.postponed = metrics.counter(
            "smtp_out_postponed_total", "Recipients put off without an attempt, while their destination is left alone"
        )
        self.fenced = metrics.counter("smtp_out_fenced_total", "Outcomes dropped because the shard has a new owner")
        self.bounces = metrics.counter("smtp_out_reports_total", "Delivery status notifications written", ["action"])
        self.signed = metrics.counter(
            "smtp_out_dkim_signatures_total", "Messages signed by DKIM; no-from, no-key: that could not be", ["outcome"]
        )
        self.moved = metrics.counter(
            "smtp_out_moved_total", "Recipients moved to another queue shard, of sites that are spread over several"
        )
        self.spread_sites = metrics.gauge("smtp_out_spread_sites", "Sites that are spread over several queue shards")
        self.shared_held = metrics.gauge(
            "smtp_out_shared_connections", "Connections to relays and spread sites that this process may have open"
        )
        self.shared_wanted = metrics.gauge(
            "smtp_out_shared_connections_wanted", "Connections to relays and spread sites that it has work for"
        )
        self.shards = metrics.gauge("smtp_out_shards", "Queue shards owned by this process")
        self.depth = metrics.gauge("smtp_out_queue_depth", "Recipients in the whole queue, by state", ["state"])
        self.seconds = metrics.histogram("smtp_out_transaction_seconds", "From the connection to the outcome")
        self.bugs = metrics.counter("smtp_out_internal_errors_total", "Unforeseen errors of attempts")
