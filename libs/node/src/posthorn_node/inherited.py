"""What one of several processes of a service is handed by the one that keeps them: its number and open sockets.

It travels as JSON in the environment, the sockets by their descriptors.
"""

import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

VARIABLE = "POSTHORN_INHERITED"


@dataclass(frozen=True, slots=True)
class Inherited:
    """One process's own sockets, bound and not listening yet."""

    number: int
    of: int
    listeners: Mapping[str, Sequence[socket.socket]]
    """By the listener's name."""
    vitals: socket.socket | None = None
    """Where it tells the one that keeps it of its health and metrics."""
    health: str = ""
    """Where others ask for them."""
    sockets: Sequence[socket.socket] = field(init=False)

    def __post_init__(self) -> None:
        vitals = () if self.vitals is None else (self.vitals,)
        object.__setattr__(self, "sockets", (*(each for own in self.listeners.values() for each in own), *vitals))

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Of all sockets: the heir needs them open."""
        return tuple(each.fileno() for each in self.sockets)

    def written(self) -> str:
        """For the environment of the heir."""
        return json.dumps(
            {
                "number": self.number,
                "of": self.of,
                "listeners": {name: [each.fileno() for each in own] for name, own in self.listeners.items()},
                "vitals": None if self.vitals is None else self.vitals.fileno(),
                "health": self.health,
            }
        )


def inherited(text: str) -> Inherited | None:
    """What the environment says, of sockets that are open in this process; None when it says nothing.

    Raises ValueError, OSError when it is not what `written` writes, or a descriptor is no socket.
    """
    if not text:
        return None
    found = json.loads(text)
    vitals = found["vitals"]
    return Inherited(
        number=found["number"],
        of=found["of"],
        listeners={name: [_taken(each) for each in own] for name, own in found["listeners"].items()},
        vitals=None if vitals is None else _taken(vitals),
        health=found["health"],
    )


def _taken(descriptor: int) -> socket.socket:
    """A socket of our own, which the programs that this process starts do not get."""
    taken = socket.socket(fileno=descriptor)
    taken.set_inheritable(False)
    taken.setblocking(False)
    return taken
