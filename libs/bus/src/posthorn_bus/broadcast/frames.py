"""What is written on the wire: batches of events, and what the members of a group say to each other. Text, UTF-8.

A batch is lines: its head {"v": 1, "b": boot id, "n": number of its first event, "s": seconds since the sender's last
batch of this topic, or null}, then one encoded envelope a line. One without events only tells the number.
A beat (member to leader) and a view (leader to members) are one JSON object each.
Unknown fields are ignored, unknown versions refused.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

VERSION = 1
MAX_EVENTS = 256
"""In one batch."""
MAX_BATCH = 256 * 1024
MAX_TOLD = 1 << 20
MAX_KEYS = 4096
MAX_TEXT = 512
_MAX_NUMBER = 2**63 - 1


class Malformed(Exception):
    """Bytes that no process of this version sends."""


@dataclass(frozen=True, slots=True)
class Head:
    """Of a batch."""

    boot: str
    first: int
    """The number of the first event; of the next one, when there is none in it."""
    since: float | None
    """Seconds between the batch that the sender sent before on this topic and this one; None: there was none."""


@dataclass(frozen=True, slots=True)
class Beat:
    """A member tells the leader that it lives."""

    boot: str
    member: str
    keys: tuple[str, ...] | None
    """What it may have; None: as said before."""
    leader: str
    """Whom it follows, and up to which of its sharings."""
    turn: int
    leaving: bool
    near: tuple[str, ...] = ()
    """Of its keys those that it should have rather than others; said with them."""


@dataclass(frozen=True, slots=True)
class View:
    """The leader tells the members that it lives, and who is to have what."""

    leader: str
    turn: int
    """Grows with every sharing of this leader; 0: it has not shared yet."""
    shares: Mapping[str, tuple[str, ...]] | None
    """Keys by boot id; whoever is not in it has none. None: as said before."""
    ask: tuple[str, ...]
    """Members whose keys the leader does not know."""
    heir: str | None
    """Who is to lead next: the leader leaves. None: it stays."""


def batch(head: Head, events: Sequence[bytes]) -> bytes:
    fields = {"v": VERSION, "b": head.boot, "n": head.first, "s": head.since}
    return b"\n".join((_packed(fields), *events))


def read_batch(data: bytes) -> tuple[Head, list[bytes]]:
    """Raises Malformed. The events are not looked into."""
    if len(data) > MAX_TOLD:
        raise Malformed
    first, *events = data.split(b"\n", MAX_EVENTS + 1)
    if len(events) > MAX_EVENTS:
        raise Malformed
    fields = _fields(first)
    since = fields.get("s")
    if since is not None and not (type(since) in (int, float) and math.isfinite(since) and since >= 0):
        raise Malformed
    return Head(_text(fields, "b"), _number(fields, "n"), since), events


def beat(said: Beat) -> bytes:
    fields = {"v": VERSION, "b": said.boot, "m": said.member, "k": said.keys, "l": said.leader, "g": said.turn}
    near = {} if said.keys is None or not said.near else {"near": said.near}
    return _packed({**fields, "bye": said.leaving, **near})


def read_beat(data: bytes) -> Beat:
    """Raises Malformed."""
    fields = _fields(data)
    keys = None if fields.get("k") is None else _keys(fields["k"])
    boot, member = _text(fields, "b"), _text(fields, "m")
    near = _keys(fields.get("near", []))
    return Beat(boot, member, keys, _text(fields, "l"), _number(fields, "g"), fields.get("bye") is True, near)


def view(said: View) -> bytes:
    fields = {"v": VERSION, "l": said.leader, "g": said.turn, "s": said.shares, "ask": said.ask, "heir": said.heir}
    return _packed(fields)


def read_view(data: bytes) -> View:
    """Raises Malformed."""
    fields = _fields(data)
    told = fields.get("s")
    if told is not None and not (isinstance(told, dict) and len(told) <= MAX_KEYS):
        raise Malformed
    shares = None if told is None else {boot: _keys(keys) for boot, keys in told.items()}
    heir = None if fields.get("heir") is None else _text(fields, "heir")
    return View(_text(fields, "l"), _number(fields, "g"), shares, _keys(fields.get("ask")), heir)


def _packed(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def _fields(data: bytes) -> Mapping[str, Any]:
    if len(data) > MAX_TOLD:
        raise Malformed
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Malformed from error
    if not isinstance(fields, dict) or fields.get("v") != VERSION:
        raise Malformed
    return fields


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise Malformed
    return value


def _number(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    if type(value) is not int or not 0 <= value <= _MAX_NUMBER:
        raise Malformed
    return value


def _keys(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_KEYS:
        raise Malformed
    if not all(isinstance(key, str) and len(key) <= MAX_TEXT for key in value):
        raise Malformed
    return tuple(value)
