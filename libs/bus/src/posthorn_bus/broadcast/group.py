"""The sharing out of one family's keys, over a server that knows no groups.

Every member beats for the leader alone, and the leader shows all of them its view: so each process hears one message a
beat however many there are, and only the leader hears all beats. Who has not heard a view for a while begins to lead;
of two leaders the one with the smaller boot id stays. Nothing depends on there being only one: shares are proposals,
leases decide (design law 5).
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from posthorn_bus.broadcast.frames import Beat, View, beat, read_beat, read_view, view
from posthorn_bus.broadcast.wire import Wire
from posthorn_bus.proposals import Proposal
from posthorn_bus.settings import BroadcastTimes, BusIdentity
from posthorn_bus.sharing import share
from posthorn_model.events import Topic
from posthorn_model.ports import Clock

_log = logging.getLogger(__name__)

MAX_MEMBERS = 20_000
COLLECT = 1.5
"""Beats for which a new leader, or who looks for one, listens before it acts."""
SPACING = 0.05
"""Seconds between two beats, however much happens."""

Shares = Mapping[str, tuple[str, ...]]


@dataclass(slots=True)
class Seat:
    """A member as the leader knows it."""

    member: str
    keys: tuple[str, ...]
    near: tuple[str, ...]
    heard: float


@dataclass(slots=True)
class Lead:
    """What a leader holds."""

    since: float
    shares: Shares
    turn: int = 0
    seats: dict[str, Seat] = field(default_factory=dict)
    ask: set[str] = field(default_factory=set)
    behind: bool = False
    """Whether a member does not know the present shares."""


class Group:
    """This process's membership. `proposal` says what is proposed to it."""

    def __init__(
        self,
        family: Topic,
        keys: Sequence[str],
        prefix: str,
        identity: BusIdentity,
        times: BroadcastTimes,
        clock: Clock,
    ) -> None:
        self.proposal = Proposal()
        self.beats = f"{prefix}.{family.value}.members"
        """The channel that only the leader hears."""
        self.views = f"{prefix}.{family.value}.leader"
        self._family = family
        self._keys = tuple(keys)
        self._near = tuple(key for key in keys if key in identity.near)
        self._me = identity.boot
        self._member = identity.member
        self._times = times
        self._clock = clock
        self._wire: Wire | None = None
        self._soon = asyncio.Event()
        self._lead: Lead | None = None
        self._hears_beats = False
        self._leader = ""
        self._viewed = 0.0
        """When the leader was heard, or began to be missed."""
        self._patience = 0.0
        self._turn = 0
        self._shares: Shares = {}
        self._told_to = ""
        self._left = False
        self._fallback: asyncio.TimerHandle | None = None

    async def take_part(self, wire: Wire) -> None:
        """Belong to the group until the connection is lost, which raises Cut."""
        self._wire, self._lead, self._leader, self._told_to = wire, None, "", ""
        self._hears_beats = False
        self._miss(COLLECT * self._times.beat + self._jitter())
        try:
            await wire.listen(self.views)
            while True:
                self._soon.clear()
                await self._act(wire)
                await asyncio.sleep(SPACING)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._times.beat):
                        await self._soon.wait()
        finally:
            self._wire = None

    def arm(self) -> None:
        """Without a sharing for the grace time, every key is proposed."""
        if self._fallback is None:
            self._fallback = asyncio.get_running_loop().call_later(self._times.grace, self._propose_all)

    def disarm(self) -> None:
        if self._fallback is not None:
            self._fallback.cancel()
            self._fallback = None

    async def leave(self) -> None:
        """Tell the others that this member goes. Raises Cut."""
        self.disarm()
        wire = self._wire
        if wire is None or self._left:
            return
        self._left = True
        if self._lead is None:
            await wire.send([(self.beats, beat(self._beat(leaving=True)))])
            return
        lead = self._lead
        lead.seats.pop(self._me, None)
        if lead.turn:
            self._share(lead)
        said = View(self._me, lead.turn, lead.shares, (), min(lead.seats, default=""))
        await wire.send([(self.views, view(said))])

    def hear_view(self, data: bytes) -> None:
        """A leader spoke. Raises Malformed."""
        said = read_view(data)
        if said.leader == self._me:
            return
        if self._lead is not None:
            if self._me < said.leader:
                return  # it hears us, and gives way
            self._lead = None
        elif self._leader and said.leader > self._leader and not self._misses_leader():
            return  # gives way to the one followed
        if said.leader != self._leader:
            self._leader, self._turn = said.leader, 0
            self._soon.set()
        self._viewed, self._patience = self._clock.monotonic(), self._silence()
        if self._me in said.ask:
            self._told_to = ""
            self._soon.set()
        if said.shares is not None and said.turn:
            self._turn = said.turn
            self._take(said.shares)
        if said.heir is not None:
            self._leader = ""
            self._miss(0.0 if said.heir == self._me else self._silence())
            self._soon.set()

    def hear_beat(self, data: bytes) -> None:
        """A member spoke. Raises Malformed."""
        said = read_beat(data)
        lead = self._lead
        if lead is None or said.boot == self._me:
            return
        if said.leaving:
            if lead.seats.pop(said.boot, None) is not None:
                self._soon.set()
            return
        seat = lead.seats.get(said.boot)
        if said.keys is None and seat is None:
            if len(lead.ask) < MAX_MEMBERS:
                lead.ask.add(said.boot)
            return
        keys, near = (said.keys, said.near) if said.keys is not None or seat is None else (seat.keys, seat.near)
        if seat is None and len(lead.seats) >= MAX_MEMBERS:
            return
        if seat is None or (seat.keys, seat.near) != (keys, near):
            self._soon.set()
        lead.seats[said.boot] = Seat(said.member, keys or (), near, self._clock.monotonic())
        lead.ask.discard(said.boot)
        lead.behind |= (said.leader, said.turn) != (self._me, lead.turn)

    async def _act(self, wire: Wire) -> None:
        """One beat."""
        if self._left:
            return
        if self._lead is None and self._misses_leader():
            await wire.listen(self.beats)
            self._hears_beats = True
            _log.debug("leads the sharing of %s", self._family)
            self._lead = Lead(self._clock.monotonic(), self._shares)
        if self._lead is None:
            if self._hears_beats:
                # Another leads: all the beats are for it alone.
                self._hears_beats = False
                await wire.ignore(self.beats)
            said = self._beat()
            self._told_to = self._leader
            await wire.send([(self.beats, beat(said))])
            return
        lead = self._lead
        now = self._clock.monotonic()
        lead.seats = {boot: seat for boot, seat in lead.seats.items() if now - seat.heard < self._times.silence}
        lead.seats[self._me] = Seat(self._member, self._keys, self._near, now)
        changed = now - lead.since >= COLLECT * self._times.beat and self._share(lead)
        shown = lead.shares if lead.turn and (changed or lead.behind) else None
        ask, lead.ask, lead.behind = tuple(lead.ask), set(), False
        await wire.send([(self.views, view(View(self._me, lead.turn, shown, ask[:1000], None)))])
        if lead.turn:
            self._take(lead.shares)

    def _beat(self, *, leaving: bool = False) -> Beat:
        keys = None if self._told_to and self._told_to == self._leader else self._keys
        return Beat(self._me, self._member, keys, self._leader, self._turn, leaving, self._near)

    def _share(self, lead: Lead) -> bool:
        """Share out among those who are there; returns whether anything is new."""
        names = _names(lead.seats)
        near = {names[boot]: seat.near for boot, seat in lead.seats.items()}
        shares = share({names[boot]: seat.keys for boot, seat in lead.seats.items()}, near)
        found = {boot: tuple(sorted(shares[name])) for boot, name in names.items() if shares[name]}
        if lead.turn and found == lead.shares:
            return False
        lead.shares = found
        lead.turn += 1
        return True

    def _take(self, shares: Shares) -> None:
        self._shares = shares
        self.disarm()
        self.proposal.put(frozenset(shares.get(self._me, ())).intersection(self._keys))

    def _misses_leader(self) -> bool:
        return self._clock.monotonic() - self._viewed > self._patience

    def _miss(self, patience: float) -> None:
        """There is no leader now; who still hears of none after so many seconds becomes one."""
        self._viewed, self._patience = self._clock.monotonic(), patience

    def _silence(self) -> float:
        return self._times.silence + self._jitter()

    def _jitter(self) -> float:
        """Not all at once: who leads first spares the others."""
        return random.random() * self._times.beat  # noqa: S311 - no secret

    def _propose_all(self) -> None:
        _log.warning("no group for %s: every key is proposed, leases alone decide", self._family)
        self.proposal.put(frozenset(self._keys))


def _names(seats: Mapping[str, Seat]) -> Mapping[str, str]:
    """By boot id the name that decides what a member gets: the same after a restart, unless two have the same."""
    found: dict[str, int] = {}
    for seat in seats.values():
        found[seat.member] = found.get(seat.member, 0) + 1
    return {boot: seat.member if found[seat.member] == 1 else f"{seat.member}\0{boot}" for boot, seat in seats.items()}
