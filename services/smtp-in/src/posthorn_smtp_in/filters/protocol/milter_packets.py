"""The milter protocol's packets (version 6, as libmilter of Sendmail 8.14 speaks it), and what is agreed at the start.

A packet is its length in four octets, one octet that says what it is, and data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from posthorn_smtp_in.filters.protocol.problems import BadAnswer

VERSION = 6
OLDEST = 2
MAX_PACKET = 131_072
"""Octets of a packet of a milter; libmilter sends 65,536 at the most."""
MAX_MACROS = 100
"""Names of macros that a milter may ask for at one stage."""


class Action(IntFlag):
    """What a milter may change."""

    ADD_FIELDS = 0x01
    CHANGE_BODY = 0x02
    ADD_RECIPIENTS = 0x04
    REMOVE_RECIPIENTS = 0x08
    CHANGE_FIELDS = 0x10
    QUARANTINE = 0x20
    CHANGE_SENDER = 0x40
    ADD_RECIPIENTS_WITH_PARAMETERS = 0x80
    CHOOSE_MACROS = 0x100


class Part(IntFlag):
    """What a milter does not want to hear (NO_), and what it does not answer (MUTE_)."""

    NO_CONNECT = 0x01
    NO_HELO = 0x02
    NO_MAIL = 0x04
    NO_RCPT = 0x08
    NO_BODY = 0x10
    NO_HEADER = 0x20
    NO_EOH = 0x40
    MUTE_HEADER = 0x80
    NO_UNKNOWN = 0x100
    NO_DATA = 0x200
    SKIP = 0x400
    """It may say that it has seen enough of a body."""
    MUTE_CONNECT = 0x1000
    MUTE_HELO = 0x2000
    MUTE_MAIL = 0x4000
    MUTE_RCPT = 0x8000
    MUTE_DATA = 0x10000
    MUTE_UNKNOWN = 0x20000
    MUTE_EOH = 0x40000
    MUTE_BODY = 0x80000
    LEADING_SPACE = 0x100000
    """Values of fields are told and given with the space behind the colon."""


OFFERED_PARTS = Part(sum(Part))


class MacroStage(IntEnum):
    """Where macros are told, as a milter that chooses them numbers it."""

    CONNECT = 0
    HELO = 1
    MAIL = 2
    RCPT = 3
    DATA = 4
    END = 5
    EOH = 6


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet; `kind` is one octet."""

    kind: bytes
    data: bytes = b""

    def encode(self) -> bytes:
        return (len(self.data) + 1).to_bytes(4, "big") + self.kind + self.data


class PacketReader:
    """Cuts what a milter sends into packets."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def empty(self) -> bool:
        """Nothing waits to be read."""
        return not self._buffer

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Packet | None:
        """The next packet, None while it is not complete. Raises BadAnswer for one that is too large or empty."""
        if len(self._buffer) < 5:
            return None
        length = int.from_bytes(self._buffer[:4], "big")
        if not 1 <= length <= MAX_PACKET:
            raise BadAnswer("this is no milter, or it says too much at once")
        if len(self._buffer) < 4 + length:
            return None
        packet = Packet(bytes(self._buffer[4:5]), bytes(self._buffer[5 : 4 + length]))
        del self._buffer[: 4 + length]
        return packet


@dataclass(frozen=True, slots=True)
class Options:
    """What was agreed with a milter."""

    version: int
    actions: Action
    parts: Part
    macros: Mapping[MacroStage, tuple[str, ...]] = field(default_factory=dict)
    """The names it asks for, at the stages that it speaks of."""


def offer(actions: Action) -> bytes:
    """The first packet: what may be changed, and all that may be left out."""
    words = (VERSION, actions | Action.CHOOSE_MACROS, OFFERED_PARTS)
    return Packet(b"O", b"".join(int(word).to_bytes(4, "big") for word in words)).encode()


def read_options(packet: Packet, offered: Action) -> Options:
    """A milter's answer to `offer`. Raises BadAnswer, also where it asks for more than it was offered."""
    data = packet.data
    if packet.kind != b"O" or len(data) < 12:
        raise BadAnswer("this is no milter")
    version, actions, parts = (int.from_bytes(data[at : at + 4], "big") for at in (0, 4, 8))
    if not OLDEST <= version <= VERSION:
        raise BadAnswer(f"the milter speaks version {version}, not {OLDEST} to {VERSION}")
    if more := actions & ~int(offered | Action.CHOOSE_MACROS):
        raise BadAnswer(f"the milter wants to change more than its settings allow: {more:#x}")
    if more := parts & ~int(OFFERED_PARTS):
        raise BadAnswer(f"the milter asks for parts of the protocol that are not known: {more:#x}")
    return Options(version, Action(actions), Part(parts), _macros(data[12:]))


def _macros(data: bytes) -> dict[MacroStage, tuple[str, ...]]:
    found: dict[MacroStage, tuple[str, ...]] = {}
    while data:
        stage, (names, end, rest) = int.from_bytes(data[:4], "big"), data[4:].partition(b"\0")
        words = names.decode("ascii", "replace").split()
        if len(data) < 5 or not end or stage not in set(MacroStage) or len(words) > MAX_MACROS:
            raise BadAnswer("the milter's list of macros cannot be read")
        found[MacroStage(stage)] = tuple(words)
        data = rest
    return found
