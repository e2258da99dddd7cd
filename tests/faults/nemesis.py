"""The faults themselves: SIGKILL for chosen or random processes of a running cluster, from outside, by cluster.json.

Every strike is bounded (a nemesis has a number of strikes and no more), drawn from a printed seed, and logged, so that
a failing run can be told and repeated. It never touches a process that cluster.json does not name, and never waits for
things to heal unless asked.
"""

import os
import random
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from posthorn_testkit.cluster import ClusterUnderTest, until

PARTS = ("postgresql", "kafka")
"""What belongs to no node."""


@dataclass(frozen=True, slots=True, order=True)
class Victim:
    """A process of the cluster."""

    service: str
    node: int
    pid: int


def lives(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2][:1]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


def family(roots: set[int]) -> set[int]:
    """These processes and all that descend from them."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError):
                fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()
                parents[int(entry.name)] = int(fields[1])
    found = set(roots)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


@dataclass(slots=True)
class Nemesis:
    """Kills processes of one cluster; `strikes` is how many it may still kill."""

    cluster: ClusterUnderTest
    seed: int
    strikes: int = 20
    log: list[str] = field(default_factory=list)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._tell(f"nemesis with seed {self.seed}")

    def victims(self, *services: str, node: int | None = None) -> list[Victim]:
        """The processes it may kill, in a fixed order: of these services (all, when none is named) and that node."""
        return sorted(
            Victim(each["service"], each["node"], each["pid"])
            for each in self.cluster.description["processes"]
            if (not services or each["service"] in services) and node in (None, each["node"])
        )

    def kill(self, *services: str, node: int | None = None) -> list[Victim]:
        """SIGKILL for all processes of these services. Raises AssertionError when there is none, or too many."""
        found = self.victims(*services, node=node)
        assert found, f"no process of {services} on node {node}"
        for victim in found:
            self._strike(victim)
        return found

    def kill_random(self, *services: str) -> Victim:
        """SIGKILL for one process, drawn by the seed from those of these services, or of all."""
        place = self._random.randrange(1 << 30)
        found = self.victims(*services)
        victim = found[place % len(found)]
        self._strike(victim)
        return victim

    def kill_all(self) -> set[int]:
        """SIGKILL for `posthorn up` itself; returns the ids of every process it had started."""
        parent = int(self.cluster.description["pid"])
        left = family({parent, *(victim.pid for victim in self.victims())}) - {parent}
        self._strike(Victim("up", 0, parent))
        return left

    def healed(self, *killed: Victim, seconds: float = 120.0) -> None:
        """Wait until other processes are in the places of the killed, and all is ready."""
        gone = {victim.pid for victim in killed}
        places = {(victim.service, victim.node) for victim in killed}

        def are_replaced() -> bool:
            now = self.victims()
            return places <= {(victim.service, victim.node) for victim in now if victim.pid not in gone}

        until(f"other processes for {sorted(places)}", are_replaced, seconds)
        until("all is ready again", self.cluster.is_ready, seconds)

    def _strike(self, victim: Victim) -> None:
        assert self.strikes > 0, "the nemesis has no strike left"
        self.strikes -= 1
        with suppress(ProcessLookupError):
            os.kill(victim.pid, signal.SIGKILL)
        self._tell(f"killed {victim.service} of node {victim.node} (process {victim.pid})")

    def _tell(self, line: str) -> None:
        self.log.append(line)
        print(line, flush=True)
