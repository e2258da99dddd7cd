"""Which requests a session offers, whether one is granted, and what the queue is told of it. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from posthorn_model.queue_items import Terms
from posthorn_smtp_in.judge import Kind
from posthorn_smtp_in.protocol.reading import UNKNOWN_PARAMETER
from posthorn_smtp_in.protocol.replies import Reply, reply
from posthorn_smtp_in.protocol.requests import Requests
from posthorn_smtp_in.submission.settings import SubmissionSettings

NEEDS_TLS = reply(530, "5.7.10", "REQUIRETLS needs a session under TLS")
HOLD_TOO_LONG = "Held for at most {} seconds"
LATE_BEFORE_RELEASE = reply(501, "5.5.4", "The time to deliver by is over before the message is released")


@dataclass(frozen=True, slots=True)
class Offered:
    """What this session may ask for now."""

    hold: int = 0
    """Seconds at the most; 0: nothing is held."""
    deliver_by: bool = False
    priority: bool = False
    require_tls: bool = False


def offered(settings: SubmissionSettings, kind: Kind, *, tls: bool) -> Offered:
    """REQUIRETLS is for servers too; the others are for people who have logged in, whom submission asks for."""
    require_tls = settings.require_tls and tls and kind is not Kind.LMTP
    if kind is not Kind.SUBMISSION:
        return Offered(require_tls=require_tls)
    return Offered(int(settings.max_hold), settings.deliver_by, settings.priority, require_tls)


def keywords(offer: Offered, now: float) -> Sequence[str]:
    """The lines of the EHLO reply; `now` in seconds since 1970."""
    lines = []
    if offer.hold:
        last = datetime.fromtimestamp(int(now), UTC) + timedelta(seconds=offer.hold)
        lines.append(f"FUTURERELEASE {offer.hold} {last:%Y-%m-%dT%H:%M:%SZ}")  # RFC 4865 4
    if offer.deliver_by:
        lines.append("DELIVERBY")
    if offer.priority:
        lines.append("MT-PRIORITY")
    if offer.require_tls:
        lines.append("REQUIRETLS")
    return lines


def judge_requests(requests: Requests, offer: Offered, now: float) -> Reply | None:
    """The refusal of what was asked for, None when it is granted."""
    if (
        (requests.holds and not offer.hold)
        or (requests.by is not None and not offer.deliver_by)
        or (requests.priority is not None and not offer.priority)
        or (requests.require_tls and not offer.require_tls)
    ):
        return UNKNOWN_PARAMETER
    until = hold_until(requests, now)
    if until is None:
        return None
    seconds = until.timestamp() - now
    if seconds > offer.hold:
        return reply(501, "5.5.4", HOLD_TOO_LONG.format(offer.hold))
    if requests.by is not None and requests.by.returns and seconds >= requests.by.seconds:
        return LATE_BEFORE_RELEASE
    return None


def hold_until(requests: Requests, now: float) -> datetime | None:
    """When the message is released; None: at once."""
    if requests.hold_for is not None:
        return datetime.fromtimestamp(now, UTC) + timedelta(seconds=requests.hold_for)
    return requests.hold_until


def terms_of(requests: Requests, now: float) -> Terms:
    """What the queue is told; times count from `now`, seconds since 1970."""
    by = requests.by
    return Terms(
        deliver_by=None if by is None else datetime.fromtimestamp(now, UTC) + timedelta(seconds=by.seconds),
        by_return=by is None or by.returns,
        by_trace=by is not None and by.trace,
        priority=requests.priority or 0,
        require_tls=requests.require_tls,
    )
