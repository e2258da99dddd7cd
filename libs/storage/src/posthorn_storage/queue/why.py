"""Why a recipient is still in the queue, and what happens next: one answer, a pure function of facts.

It reads nothing and knows no clock: facts.py gathers what is known, at one moment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from posthorn_model.sites import at_site
from posthorn_storage.codes import LOCAL_SITE
from posthorn_storage.queue.listing import QueuedMessage, QueuedRecipient, QueueEvent
from posthorn_storage.queue.pauses import Pause
from posthorn_storage.queue.selection import Standing
from posthorn_storage.queue.shares import Share
from posthorn_storage.queue.suppression import Suppression


@dataclass(frozen=True, slots=True)
class SiteTerms:
    """Limits of one destination; None: as for everybody."""

    connections: int | None = None
    rate: str = "none"


@dataclass(frozen=True, slots=True)
class SendingTerms:
    """What smtp-out said of its settings when it started, times in seconds; of several processes the last one."""

    retry: Sequence[float]
    expire: float
    connections: int
    """At once to one destination."""
    messages: int
    """Over one connection."""
    said_at: datetime | None = None
    sites: Mapping[str, SiteTerms] = field(default_factory=dict)
    """By domain, "*.domain", "*" or the name of a relay."""
    routes: Mapping[str, str] | None = None
    """By domain or "*.domain"; None: not told."""
    relay: str | None = None
    suppression: str = "off"
    """Or "observe", "enforce"."""

    def route(self, site: str) -> str | None:
        """The route of a site: the name of a relay, "host:port", "mx" or "local"; None: not told."""
        if site == LOCAL_SITE or self.routes is None:
            return "local" if site == LOCAL_SITE else None
        return at_site(self.routes, site) or self.relay or "mx"

    def destination(self, site: str) -> str:
        """What the limits of a site's mail are counted by: the site, or the relay that its mail goes to."""
        route = self.route(site)
        return site if route in (None, "mx", "local") else str(route)

    def limits(self, name: str) -> tuple[int, str]:
        """How many connections a destination may have at once, and its rate ("none": no limit)."""
        own = at_site(self.sites, name.lower())
        return (own.connections or self.connections, own.rate) if own is not None else (self.connections, "none")


@dataclass(frozen=True, slots=True)
class ShardOwner:
    """Who has the lease of a queue shard. `node` and `hostname` are known while the process is remembered."""

    boot: str
    epoch: int
    live: bool
    node: int | None = None
    hostname: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of one recipient at a moment, by the database's clock."""

    now: datetime
    message: QueuedMessage
    recipient: QueuedRecipient
    events: Sequence[QueueEvent]
    """Of this recipient, in order."""
    owner: ShardOwner | None
    workers: int
    """Live processes of smtp-out."""
    pauses: Sequence[Pause]
    terms: SendingTerms | None
    doubt_seconds: float
    suppression: Suppression | None = None
    """An entry of the suppression list that stands against the recipient."""
    shares: Sequence[Share] = ()
    """Who holds what of the limit of its destination, where that is shared out."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer: how it stands, why it is still here, what happens next; sentences for people, and the times."""

    recipient: QueuedRecipient
    owner: ShardOwner | None
    because: Sequence[str]
    next: Sequence[str]
    last_reply: str
    last_class: str
    next_attempt: datetime | None
    expires_at: datetime | None


def explained(facts: Facts) -> Explanation:
    """Why the recipient is still here, and what happens next."""
    recipient, standing = facts.recipient, facts.recipient.standing
    last = next((event for event in reversed(facts.events) if event.kind in _ENDS), None)
    expires = _expires(facts)
    if standing in (Standing.DELIVERED, Standing.FAILED, Standing.CANCELLED):
        because, after, at = _over(standing, last), ["Nothing: it is over."], None
        expires = None
    elif standing is Standing.HELD:
        because, after, at = _held(facts), [f"Nothing, until `posthorn queue release {facts.message.id}`."], None
    elif standing is Standing.PAUSED:
        because, after, at = _paused(facts)
    elif standing is Standing.IN_FLIGHT:
        because, after, at = _in_flight(facts)
    else:
        because, after, at = _waiting(facts, last)
    if expires is not None:
        after = [*after, _expiry(facts, expires)]
    return Explanation(
        recipient=recipient,
        owner=facts.owner,
        because=because,
        next=after,
        last_reply=last.reply if last else "",
        last_class=last.reply_class if last else "",
        next_attempt=at,
        expires_at=expires,
    )


_ENDS = ("delivered", "deferred", "failed")
_Answer = tuple[list[str], list[str], datetime | None]


def _over(standing: Standing, last: QueueEvent | None) -> list[str]:
    if standing is Standing.CANCELLED:
        return ["It was cancelled."]
    said = f": {last.reply}" if last is not None and last.reply else ""
    return [f"It is {standing.value}{said}"]


def _held(facts: Facts) -> list[str]:
    event = next((event for event in reversed(facts.events) if event.kind == "held"), None)
    note = f" ({event.reply})" if event is not None and event.reply else ""
    since = f" since {_time(event.at)}" if event is not None else ""
    return [f"An operator holds it{since}{note}."]


def _paused(facts: Facts) -> _Answer:
    pause = next((pause for pause in facts.pauses if pause.id == facts.recipient.parked), None)
    if pause is None or pause.lifted:
        return ["A pause that stopped it has ended."], ["Within seconds it is let go."], None
    return [_pause_text(pause)], [_until(pause)], None


def _in_flight(facts: Facts) -> _Answer:
    recipient, owner = facts.recipient, facts.owner
    since = recipient.since or facts.now
    old = owner is not None and recipient.epoch < owner.epoch
    if not old and owner is not None and owner.live:
        return (
            [f"Attempt {recipient.attempt} is under way since {_time(since)}, by {_who(owner)}."],
            ["What the remote answers decides."],
            None,
        )
    again = since + timedelta(seconds=facts.doubt_seconds)
    because = [
        f"Attempt {recipient.attempt} was under way at {_time(since)}, under epoch {recipient.epoch} of the lease, and "
        "its owner has not ended it: the remote may have the message."
    ]
    after = ["It is sent again with the same Message-ID, marked as in doubt.", *_owned(facts)]
    return because, after, max(again, facts.now)


def _waiting(facts: Facts, last: QueueEvent | None) -> _Answer:
    recipient = facts.recipient
    due = recipient.due or facts.now
    because: list[str] = []
    if last is not None and last.kind == "deferred":
        kind = f" [{last.reply_class}]" if last.reply_class else ""
        who = f" ({last.remote})" if last.remote else ""
        because.append(f"Attempt {last.attempt} at {_time(last.at)} was put off{kind}: {last.reply}{who}")
    elif not recipient.attempt and due > facts.message.created_at + timedelta(seconds=1):
        because.append("It was queued for a later time, or rescheduled before its first attempt.")
    elif not recipient.attempt:
        because.append("It has not been tried yet.")
    put_off = next((event for event in reversed(facts.events) if event.kind in (*_ENDS, "postponed")), None)
    if put_off is not None and put_off.kind == "postponed":
        because.append(f"It was put off without an attempt at {_time(put_off.at)}: {put_off.reply}")
    because += _suppressed(facts)
    route = None if facts.terms is None else facts.terms.route(recipient.site)
    stopping = [pause for pause in facts.pauses if not pause.lifted and _stops(pause, recipient, route)]
    if stopping:
        return [*because, *map(_pause_text, stopping)], [_until(pause) for pause in stopping], None
    paused = [pause.name for pause in facts.pauses if not pause.lifted and pause.scope == "route"]
    routes = paused if route is None else []
    late = (facts.now - due).total_seconds()
    if late > 0:
        because.append(f"It is due since {_time(due)} ({late:,.0f} s).")
        after = _turn(facts)
    else:
        after = [f"The next attempt is at {_time(due)}."]
    if routes:
        after.append(f"Not while its route is paused: paused are {', '.join(routes[:10])}.")
    return because, [*after, *_owned(facts)], max(due, facts.now)


def _suppressed(facts: Facts) -> list[str]:
    entry, mode = facts.suppression, "off" if facts.terms is None else facts.terms.suppression
    if entry is None or mode == "off" or not facts.message.sender:
        return []
    whose = f"mail of {entry.scope}" if entry.scope else "everybody's mail"
    then = "at the next attempt it fails at once" if mode == "enforce" else "that is only observed"
    return [f"The address is suppressed for {whose} since {_time(entry.since)} ({entry.reason}): {then}."]


def _turn(facts: Facts) -> list[str]:
    """What something that is due waits for."""
    terms, site = facts.terms, facts.recipient.site
    if terms is None or terms.route(site) == "local":
        return ["It waits for its turn."]
    name = terms.destination(site)
    connections, rate = terms.limits(name)
    turn = f"It waits for its turn: at most {connections} connections to {name} are open at once"
    if rate != "none":
        turn += f", for {rate} messages"
    if not facts.shares:
        return [f"{turn}."]
    held = ", ".join(f"{each.connections} by {_place(each.node, each.hostname)}" for each in facts.shares[:10])
    return [f"{turn}; they are shared out: {held}."]


def _owned(facts: Facts) -> list[str]:
    owner = facts.owner
    if owner is not None and owner.live:
        return [f"Shard {facts.recipient.shard} is worked on by {_who(owner)}."]
    if not facts.workers:
        return ["No smtp-out is running: nothing is sent at all."]
    return [f"Nobody owns shard {facts.recipient.shard} at the moment: another smtp-out takes it over within seconds."]


def _expires(facts: Facts) -> datetime | None:
    if facts.terms is None:
        return None
    return facts.message.created_at + timedelta(seconds=facts.terms.expire)


def _expiry(facts: Facts, expires: datetime) -> str:
    whom = "it is dropped" if not facts.message.sender else "it comes back to its sender"
    if expires <= facts.now:
        return f"Its time was over at {_time(expires)}: if the next attempt is put off, {whom}."
    return f"If it is not delivered, it is tried until {_time(expires)}; then {whom}."


def _stops(pause: Pause, recipient: QueuedRecipient, route: str | None) -> bool:
    return pause.scope == "everything" or pause.name == {"site": recipient.site, "route": route}.get(pause.scope)


def _pause_text(pause: Pause) -> str:
    what = "Everything" if pause.scope == "everything" else f"The {pause.scope} {pause.name}"
    reason = f": {pause.reason}" if pause.reason else ""
    return f"{what} is paused since {_time(pause.since)}{reason}"


def _until(pause: Pause) -> str:
    words = {"everything": "--all", "route": f"--route {pause.name}", "site": pause.name}[pause.scope]
    ended = f"`posthorn queue resume {words}`"
    return f"Nothing, until {_time(pause.until)} or {ended}." if pause.until else f"Nothing, until {ended}."


def _who(owner: ShardOwner) -> str:
    return f"{_place(owner.node, owner.hostname)} ({owner.boot}, epoch {owner.epoch})"


def _place(node: int | None, hostname: str) -> str:
    place = f"node {node}" if node is not None else "a process"
    return f"{place} on {hostname}" if hostname else place


def _time(at: datetime) -> str:
    return at.isoformat(" ", "seconds")
