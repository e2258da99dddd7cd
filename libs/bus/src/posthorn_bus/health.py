"""The state of a bus as everybody is shown it: what was counted, how far behind it is, and who was heard when."""

from posthorn_bus.fanout import Tally
from posthorn_model.ports import BusHealth


def health_of(
    kind: str,
    detail: str,
    tally: Tally,
    now: float,
    *,
    connected: bool,
    lag_events: int = 0,
    lag_seconds: float = 0.0,
) -> BusHealth:
    """Put it together; `now` is in monotonic seconds, by the clock of the bus."""
    return BusHealth(
        kind=kind,
        connected=connected,
        detail=detail,
        published=tally.published,
        received=tally.received,
        skipped=tally.skipped,
        gaps=tally.gaps,
        dropped=tally.dropped,
        lag_events=lag_events,
        lag_seconds=lag_seconds,
        heard={node: max(0.0, now - heard) for node, heard in tally.heard.items()},
    )
