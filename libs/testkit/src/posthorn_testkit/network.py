"""Where processes under test stand: each in a network namespace of its own, which can be cut off from all others.

Needs root and iproute2. A hub address on this machine's loopback is reachable from every namespace: what all of them
need (database, broker, sink) listens there. Namespaces are joined to the machine one by one, by a pair of virtual
interfaces; whoever is cut off has its side of the pair set down, so that packets vanish without a word, both ways.
"""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from posthorn_ctl.embedded.errors import PartError

MAX_PLACES = 250
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one process stands: the address it has there, and the words before a command that runs there."""

    number: int
    host: str
    prefix: tuple[str, ...]


@dataclass(slots=True)
class Network:
    """The namespaces of one test. `hub` is the address of this machine that all of them reach."""

    name: str
    net: int
    places: dict[int, Place] = field(default_factory=dict)

    @property
    def hub(self) -> str:
        return f"10.{self.net}.0.1"

    def place(self, number: int) -> Place:
        """The namespace of that number (1 to 250), made when it is not there. Raises PartError."""
        if number not in self.places:
            self.places[number] = self._made(number)
        return self.places[number]

    def cut(self, number: int) -> None:
        """From now on nothing reaches that place and nothing leaves it."""
        _ip("link", "set", self._outside(number), "down")

    def mend(self, number: int) -> None:
        """Undo `cut`."""
        _ip("link", "set", self._outside(number), "up")

    def _made(self, number: int) -> Place:
        if not 1 <= number <= MAX_PLACES:
            raise PartError(f"there are {MAX_PLACES} namespaces at the most")
        space, outside, inside = f"{self.name}-{number}", self._outside(number), "inside"
        here, there = f"10.{self.net}.{number}.1", f"10.{self.net}.{number}.2"
        _ip("netns", "add", space)
        _ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", space)
        _ip("addr", "add", f"{here}/30", "dev", outside)
        _ip("link", "set", outside, "up")
        _ip("-n", space, "addr", "add", f"{there}/30", "dev", inside)
        _ip("-n", space, "link", "set", "lo", "up")
        _ip("-n", space, "link", "set", inside, "up")
        _ip("-n", space, "route", "add", "default", "via", here)
        return Place(number, there, ("ip", "netns", "exec", space))

    def _outside(self, number: int) -> str:
        return f"{self.name}v{number}"


@contextmanager
def network() -> Iterator[Network]:
    """A network without places; all of it is gone when the block ends. Raises PartError where that is not allowed."""
    made = _free()
    before = FORWARDING.read_text(encoding="ascii")
    try:
        try:
            FORWARDING.write_text("1", encoding="ascii")
        except OSError as error:
            raise PartError(f"no forwarding between network namespaces: {error.strerror}") from None
        yield made
    finally:
        for number in made.places:
            with suppress(PartError):
                _ip("netns", "del", f"{made.name}-{number}")
        _ip("addr", "del", f"{made.hub}/32", "dev", "lo")
        with suppress(OSError):
            FORWARDING.write_text(before, encoding="ascii")


def _free() -> Network:
    """A network whose hub nobody has; one that was killed may have left its own behind."""
    for net in secrets.SystemRandom().sample(range(64, 128), 64):
        made = Network(f"ph{secrets.token_hex(2)}", net)
        try:
            _ip("addr", "add", f"{made.hub}/32", "dev", "lo")
        except PartError as error:
            if "exists" not in str(error):
                raise
        else:
            return made
    raise PartError("no network namespaces: all 64 addresses of hubs are on lo; remove them with ip addr del")


def _ip(*words: str) -> None:
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False, timeout=30)
    except FileNotFoundError:
        raise PartError("no network namespaces: install iproute2") from None
    if done.returncode != 0:
        raise PartError(f"no network namespaces: ip {' '.join(words)}: {done.stderr.strip()}")
