"""The great run: every service several times, a mixed load, and all that can happen to processes meanwhile.

First gently: each instance leaves by a signal and comes back, one service shrinks to one instance, grows to six and
shrinks again; a client that tries once more must see no failure. Then roughly: instances are killed, cut off from
everybody for longer than a lease, restarted and scaled, as a seed draws it, until the time is over. At the end
everything is healed and judged: mail by the ledger, flags by those who changed and those who watched, ownership by the
log of epochs, and all that is stored by `posthorn check`.
"""

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from tests.faults import epochs
from tests.faults.changes import Changer, Watcher, shown
from tests.faults.couriers import AppendCourier, ImportCourier, SmtpCourier, Target
from tests.faults.ledger import Ledger
from tests.faults.load import Load
from tests.faults.outside import Outside

from posthorn_model.cluster import SERVICES
from posthorn_storage.migrate import migrate
from posthorn_testkit.cluster import posthorn, until
from posthorn_testkit.instances import SINK_DOMAIN, Instance, Instances

OWNERS = ("smtp-out", "maintenance")
"""Those that hold queue shards and roles: half of all kills and cuts are for them."""
MESSAGES = 1_000_000
"""More than can be sent: a load ends when it is told that it is enough."""
PACE = 0.25
CUT_SECONDS = 9.0
"""One and a half times the lease."""
CATCH_UP = 60.0
"""Seconds in which a watcher must have learned of everything: its self-check comes every 30."""
TRIES = 2
"""What a client needs at the most while nothing is killed: it tries once more."""
Say = Callable[[str], None]


@dataclass(slots=True)
class Tally:
    """What a run did and found."""

    deeds: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    sent_out: int = 0
    repeated_outside: int = 0
    changes: int = 0
    breaks: int = 0
    most_tries: int = 0
    lines: int = 0
    """Of the log of epochs."""
    owners: int = 0
    """Leases taken."""

    def told(self) -> list[str]:
        """For people."""
        return [
            ", ".join(f"{count} times {deed}" for deed, count in sorted(self.deeds.items())),
            f"{self.messages} messages came in and {self.sent_out} went out, {self.repeated_outside} of them twice",
            f"{self.changes} changes of flags; connections broke {self.breaks} times; at most {self.most_tries} tries",
            f"{self.owners} leases taken, {self.lines} writes under them, none by anybody else",
        ]


@dataclass(slots=True)
class GreatRun:
    """One run on a cluster without instances."""

    cluster: Instances
    seed: int
    each: int = 3
    services: Sequence[str] = SERVICES
    say: Say = print
    tally: Tally = field(default_factory=Tally)
    _random: random.Random = field(init=False)
    _accounts: list[Target] = field(default_factory=list)
    _ledger: Ledger = field(default_factory=lambda: Ledger("in"))
    _out: Ledger = field(default_factory=lambda: Ledger("out"))

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def run(self, seconds: float, *, scaled: str = "imap", rolled: Sequence[str] | None = None) -> Tally:
        """All of it. Raises AssertionError with what is wrong."""
        self.say(f"seed {self.seed}, {seconds:.0f} s, {self.each} of each: {', '.join(self.services)}")
        self._furnish()
        deadline = time.monotonic() + seconds
        with Outside(self.cluster) as outside:
            changers = [Changer(self.cluster, _login(each), self.seed) for each in self._accounts[:1]]
            watchers = [Watcher(self.cluster, _login(self._accounts[0])) for _ in range(2)]
            with _at_work(*changers, *watchers):
                with self._load() as loads:
                    self._gently(scaled, self.services if rolled is None else rolled)
                self._heed(loads, changers, gentle=True)
                with self._load() as loads:
                    while time.monotonic() < deadline:
                        self._deed()
                self._heed(loads, changers, gentle=False)
                self.cluster.until_ready()
                for changer in changers:
                    changer.end()
                self._judge_mail(outside)
                self._judge_changes(changers, watchers)
        self._judge_owners()
        self._check()
        for line in self.tally.told():
            self.say(line)
        return self.tally

    # The cluster

    def _furnish(self) -> None:
        dsn = self.cluster.parts.dsn
        asyncio.run(migrate(dsn))
        epochs.install(self.cluster.parts.superuser)
        _done("domain", "add", "example.org", "--dsn", dsn)
        self._accounts = [Target(f"g{number}@example.org", secrets.token_hex(8)) for number in range(3)]
        lines = "".join(f"{each.name} {each.password}\n" for each in self._accounts)
        _done("account", "add", "--from", "-", "--dsn", dsn, text=lines)
        self.cluster.until_ready(*(self.cluster.add(service) for service in self.services for _ in range(self.each)))
        self.say(f"{len(self.cluster.of())} instances are ready")

    @contextmanager
    def _load(self) -> Iterator[list[Load]]:
        kinds = [
            (self._ledger, SmtpCourier, self._accounts),
            (self._ledger, AppendCourier, self._accounts[:2]),
            (self._ledger, ImportCourier, self._accounts[1:]),
            (self._out, lambda *place: SmtpCourier(*place, login=self._accounts[2]), [Target(f"friend@{SINK_DOMAIN}")]),
        ]
        with ExitStack() as stack:
            loads = [
                stack.enter_context(
                    Load(
                        self.cluster,
                        ledger,
                        targets,
                        MESSAGES,
                        nodes=range(6),
                        connections=1,
                        courier=courier,
                        pace=PACE,
                    )
                )
                for ledger, courier, targets in kinds
            ]
            try:
                yield loads
            finally:
                for load in loads:
                    load.enough()

    # What happens to it

    def _gently(self, scaled: str, rolled: Sequence[str]) -> None:
        for service in rolled:
            self._roll(service)
        self.cluster.code = None
        self._scale(scaled)

    def _roll(self, service: str) -> None:
        """Restart one after another, with the newest code, as an upgrade does."""
        for instance in self.cluster.of(service):
            self.cluster.stop(instance)
            instance.code = None
            self.cluster.start(instance)
            self.cluster.until_ready(instance)
        self._did(f"rolled {service}")

    def _scale(self, service: str) -> None:
        """To one, to six, to one, and back to what it was."""
        for count in (1, 6, 1, self.each):
            self._to(service, count)
            self._did(f"scaled {service} to {count}")

    def _to(self, service: str, count: int) -> None:
        there = self.cluster.of(service)
        for instance in there[count:]:
            self.cluster.stop(instance)
        self.cluster.until_ready(*(self.cluster.add(service) for _ in range(count - len(there))), *there[:count])

    def _deed(self) -> None:
        deeds = (self._kill, self._kill, self._cut, self._cut, self._cut_two, self._roll_some, self._scale_some)
        self._random.choice(deeds)()

    def _kill(self) -> None:
        victim = self._random.choice(self.cluster.of(*self._random.choice((OWNERS, self.services))))
        self.cluster.kill(victim)
        time.sleep(self._random.uniform(0.2, 3.0))
        self.cluster.start(victim)
        self.cluster.until_ready(victim)
        self._did(f"killed {victim.service}", f"node {victim.number}")

    def _cut(self, count: int = 1) -> None:
        victims = self._random.sample(self.cluster.of(*self._random.choice((OWNERS, self.services))), count)
        for victim in victims:
            self.cluster.net.cut(victim.number)
        time.sleep(CUT_SECONDS)
        for victim in victims:
            self.cluster.net.mend(victim.number)
        for victim in victims:
            self.cluster.revive(victim)
            self._did(f"cut off {victim.service}", f"node {victim.number}")

    def _cut_two(self) -> None:
        self._cut(2)

    def _roll_some(self) -> None:
        self._roll(self._random.choice(self.services))

    def _scale_some(self) -> None:
        service = self._random.choice(self.services)
        for count in (self.each + 1, self.each):
            self._to(service, count)
        self._did(f"scaled {service} to {self.each + 1} and back")

    def _did(self, deed: str, more: str = "") -> None:
        self.tally.deeds[deed] += 1
        self.say(f"{deed} {more}".strip())

    # What is found

    def _heed(self, loads: Sequence[Load], changers: Sequence[Changer], *, gentle: bool) -> None:
        tries = max(each.most_tries for each in (*loads, *changers))
        self.tally.breaks += sum(load.breaks for load in loads)
        self.tally.most_tries = max(self.tally.most_tries, tries)
        if gentle:
            self.say(f"gently: no client needed more than {tries} tries")
            assert tries <= TRIES, f"a client needed {tries} tries while everybody left in order"

    def _judge_mail(self, outside: Outside) -> None:
        wanted = {entry.token for entry in self._out.acknowledged()}
        until("what was sent out has arrived", lambda: wanted <= set(outside.tokens()), 120)
        copies = outside.copies()
        self.tally.sent_out = len(wanted)
        self.tally.repeated_outside = sum(copies.values()) - len(copies)
        self.tally.messages = len(self._ledger.acknowledged())
        passwords = {each.name: each.password for each in self._accounts}
        self._ledger.verify(self.cluster, passwords, nodes=range(self.each))
        self.say(f"no mail lost: {self.tally.messages} in mailboxes, {self.tally.sent_out} outside")

    def _judge_changes(self, changers: Sequence[Changer], watchers: Sequence[Watcher]) -> None:
        login = _login(self._accounts[0])
        self.tally.changes = sum(changer.changes for changer in changers)
        views = [shown(self.cluster, login, node) for node in range(self.each)]
        for view in views:
            assert view == views[0], "nodes show different flags"
            wrong = {uid: (flags, view.get(uid)) for uid, flags in changers[0].truth.items() if view.get(uid) != flags}
            assert not wrong, f"acknowledged changes are not there: {wrong}"
        for watcher in watchers:
            until("a watcher knows of everything", lambda each=watcher: each.flags == views[0], CATCH_UP)
            watcher.end()
        self.say(f"no change lost: {self.tally.changes} acknowledged, {len(watchers)} watchers know of all")

    def _judge_owners(self) -> None:
        lines = epochs.read(self.cluster.parts.superuser)
        wrong = epochs.judge(lines)
        assert not wrong, f"{len(wrong)} writes of others than the one owner, such as: {wrong[:5]}"
        self.tally.lines = len(lines)
        self.tally.owners = sum(line.kind == "taken" for line in lines)
        self.say(f"one owner at any time: {self.tally.owners} leases taken, {self.tally.lines} writes looked at")

    def _check(self) -> None:
        anyone: Instance = self.cluster.of()[0]
        _done("check", "--content", "--config", str(anyone.config))
        self.say("posthorn check finds nothing wrong")


@contextmanager
def _at_work(*threads: Changer | Watcher) -> Iterator[None]:
    """Start them; whatever comes, none of them outlives the block."""
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.leave()


def _login(account: Target) -> tuple[str, str]:
    return account.name, account.password


def _done(*words: str, text: str | None = None) -> None:
    done = posthorn(*words, text=text)
    assert done.returncode == 0, done.stdout + done.stderr
