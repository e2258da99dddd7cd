"""The envelope every event travels in: compact JSON with schema versions, type, sender and event id.

It says two versions (decision 0020): `v`, the least that a reader must know to understand this event, and `w`, that of
its writer. A reader never fails on what it does not know: of a later writer it reads what it may, ignores unknown
fields, and refuses events that need more, and unknown types, one by one with `Unreadable` (old and new run side by
side, design law 11). It refuses content: events carry ids, never bytes.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from posthorn_model.events import (
    Changed,
    ChangeKind,
    Control,
    EchoAnswered,
    EchoAsked,
    Event,
    LeaseAsked,
    LeaseNotice,
    NodeNotice,
    QueueDue,
    Topic,
)
from posthorn_model.ids import AccountId, Epoch, Modseq, NodeId

VERSION = 2
"""Of what this code writes. Version 1 had no `w`, no echo and no lost events."""
MAX_BYTES = 32_768
MAX_TEXT = 512
_MAX_ID = 2**63 - 1
_KINDS = {kind.value: kind for kind in ChangeKind}
_TOPICS = {topic.value: topic for topic in Topic}
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
"""Made once: json.dumps with settings of its own makes one for each event."""


class Unreadable(Exception):
    """Not an event this version can read: unknown type or version, malformed, or too large."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The sender had events on `topic` that it could not send: who hears this may have missed something."""

    topic: Topic


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event on its way. `id` is unique among the events of one `boot` and grows."""

    event: Event | Lost
    id: int
    node: NodeId
    boot: str


def encode(envelope: Envelope) -> bytes:
    """Return the envelope as UTF-8 JSON. Raises Unreadable when it would be larger than MAX_BYTES or is no JSON."""
    kind, detail = _described(envelope.event)
    fields = {
        "v": _LEAST.get(kind, 1),
        "w": VERSION,
        "t": kind,
        "i": envelope.id,
        "n": envelope.node,
        "b": envelope.boot,
        "d": detail,
    }
    try:
        data = _ENCODER.encode(fields).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Unreadable(f"{kind}: not JSON") from error
    if len(data) > MAX_BYTES:
        raise Unreadable(f"{kind}: {len(data)} bytes")
    return data


def decode(data: bytes) -> Envelope:
    """Read an envelope; whoever wrote it. Raises Unreadable."""
    if len(data) > MAX_BYTES:
        raise Unreadable(f"{len(data)} bytes")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unreadable("not JSON") from error
    if not isinstance(fields, dict):
        raise Unreadable("not an object")
    least = _number(fields, "v")
    if not 1 <= least <= VERSION:
        raise Unreadable(f"for readers of version {least}")
    reader = _READERS.get(_text(fields, "t"))
    if reader is None:
        raise Unreadable("unknown type")
    detail = fields.get("d")
    if not isinstance(detail, dict):
        raise Unreadable("no detail")
    return Envelope(reader(detail), _number(fields, "i"), NodeId(_number(fields, "n")), _text(fields, "b"))


def _described(event: Event | Lost) -> tuple[str, dict[str, Any]]:
    match event:
        case Changed():
            detail = {"account": event.account, "modseq": event.modseq, "kinds": sorted(event.kinds)}
            return "changed", {**detail, "at": event.position} if event.position else detail
        case Control():
            return "control", {"name": event.name, "detail": event.detail}
        case QueueDue():
            return "queue-due", {"shard": event.shard}
        case LeaseNotice():
            return "lease", {"key": event.key, "node": event.node, "epoch": event.epoch, "held": event.held}
        case LeaseAsked():
            return "lease-asked", {"key": event.key, "node": event.node}
        case NodeNotice():
            return "node", {"node": event.node, "service": event.service, "state": event.state, "load": event.load}
        case EchoAsked():
            return "echo", {"probe": event.probe}
        case EchoAnswered():
            asked = {"probe": event.probe, "node": event.node, "service": event.service, "boot": event.boot}
            return "echo-answer", asked
        case Lost():
            return "lost", {"topic": event.topic.value}


def _changed(detail: Mapping[str, Any]) -> Event:
    kinds = detail.get("kinds")
    if not isinstance(kinds, list):
        raise Unreadable("kinds")
    # A kind that only a newer version knows says nothing to this one; that the account moved still does.
    known = frozenset(_KINDS[kind] for kind in kinds if isinstance(kind, str) and kind in _KINDS)
    position = _text(detail, "at") if "at" in detail else ""
    return Changed(AccountId(_number(detail, "account")), Modseq(_number(detail, "modseq")), known, position)


def _control(detail: Mapping[str, Any]) -> Event:
    inner = detail.get("detail", {})
    if not isinstance(inner, dict):
        raise Unreadable("detail")
    return Control(_text(detail, "name"), inner)


def _queue_due(detail: Mapping[str, Any]) -> Event:
    return QueueDue(_number(detail, "shard"))


def _lease(detail: Mapping[str, Any]) -> Event:
    held = detail.get("held")
    if not isinstance(held, bool):
        raise Unreadable("held")
    return LeaseNotice(_text(detail, "key"), NodeId(_number(detail, "node")), Epoch(_number(detail, "epoch")), held)


def _lease_asked(detail: Mapping[str, Any]) -> Event:
    return LeaseAsked(_text(detail, "key"), NodeId(_number(detail, "node")))


def _node(detail: Mapping[str, Any]) -> Event:
    load = detail.get("load", 0.0)
    if isinstance(load, bool) or not isinstance(load, int | float) or not math.isfinite(load):
        raise Unreadable("load")
    node = NodeId(_number(detail, "node"))
    return NodeNotice(node, _text(detail, "service"), _text(detail, "state"), min(1.0, max(0.0, float(load))))


def _echo(detail: Mapping[str, Any]) -> Event:
    return EchoAsked(_text(detail, "probe"))


def _echo_answer(detail: Mapping[str, Any]) -> Event:
    node = NodeId(_number(detail, "node"))
    return EchoAnswered(_text(detail, "probe"), node, _text(detail, "service"), _text(detail, "boot"))


def _lost(detail: Mapping[str, Any]) -> Lost:
    topic = _TOPICS.get(_text(detail, "topic"))
    if topic is None:
        raise Unreadable("topic")
    return Lost(topic)


_READERS: dict[str, Callable[[Mapping[str, Any]], Event | Lost]] = {
    "changed": _changed,
    "control": _control,
    "queue-due": _queue_due,
    "lease": _lease,
    "lease-asked": _lease_asked,
    "node": _node,
    "echo": _echo,
    "echo-answer": _echo_answer,
    "lost": _lost,
}
_LEAST = {"echo": 2, "echo-answer": 2, "lost": 2}
"""The version a reader must know, where it is not the first."""


def _number(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_ID:
        raise Unreadable(name)
    return value


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise Unreadable(name)
    return value
