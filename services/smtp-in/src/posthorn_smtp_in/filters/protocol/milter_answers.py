"""What a milter answers: a decision, or at the end of a message a change first."""

import re
from dataclasses import dataclass
from enum import Enum

from posthorn_smtp_in.filters.changes import AddField, Change, ChangeField, InsertField
from posthorn_smtp_in.filters.protocol.milter_packets import Action, Packet
from posthorn_smtp_in.filters.protocol.problems import BadAnswer
from posthorn_smtp_in.protocol.replies import Reply, reply

MAX_LINES = 32
"""Of a reply (sendmail's own limit)."""


class Decision(Enum):
    """What shall become of a command, of the message or of the connection."""

    CONTINUE = b"c"
    ACCEPT = b"a"
    """No further questions."""
    REJECT = b"r"
    TEMPFAIL = b"t"
    DISCARD = b"d"
    SKIP = b"s"
    """No more of the body."""
    PROGRESS = b"p"
    """It is still at work."""
    SHUTDOWN = b"4"
    CONNECTION_FAILS = b"f"
    REPLY = b"y"


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision; `reply` is what the client is to hear, of the refusing ones."""

    decision: Decision
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class ChangeSender:
    """Another reverse-path."""

    address: str


@dataclass(frozen=True, slots=True)
class AddRecipient:
    """A recipient more."""

    address: str


@dataclass(frozen=True, slots=True)
class RemoveRecipient:
    """A recipient less."""

    address: str


@dataclass(frozen=True, slots=True)
class ReplaceBody:
    """A piece of another body."""

    piece: bytes


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The message is suspicious."""

    reason: str


MilterChange = Change | ChangeSender | AddRecipient | RemoveRecipient | ReplaceBody | Quarantine

_REFUSALS = {
    Decision.REJECT: reply(550, "5.7.1", "Command rejected"),
    Decision.TEMPFAIL: reply(451, "4.7.1", "Service unavailable, try again later"),
    Decision.SHUTDOWN: reply(421, "4.7.0", "Service closing the connection"),
    Decision.CONNECTION_FAILS: reply(421, "4.7.0", "Service closing the connection"),
}
_NEEDED = {
    b"h": Action.ADD_FIELDS,
    b"i": Action.ADD_FIELDS,
    b"m": Action.CHANGE_FIELDS,
    b"b": Action.CHANGE_BODY,
    b"e": Action.CHANGE_SENDER,
    b"+": Action.ADD_RECIPIENTS,
    b"2": Action.ADD_RECIPIENTS_WITH_PARAMETERS,
    b"-": Action.REMOVE_RECIPIENTS,
    b"q": Action.QUARANTINE,
}
_LINE = re.compile(r"([45][0-9][0-9])(?:[ -](?:([45])\.([0-9]{1,3}\.[0-9]{1,3})(?: |$))?(.*))?", re.DOTALL)


def read_answer(packet: Packet, allowed: Action) -> Answer | MilterChange:
    """An answer, or one change of those that were agreed. Raises BadAnswer."""
    needed = _NEEDED.get(packet.kind)
    if needed is not None:
        if not needed & allowed:
            raise BadAnswer("the milter changes what it has not asked for")
        return _change(packet)
    try:
        decision = Decision(packet.kind)
    except ValueError:
        raise BadAnswer(f"the milter's answer {packet.kind!r} is not known") from None
    if decision is Decision.REPLY:
        return _reply(packet.data)
    return Answer(decision, _REFUSALS.get(decision))


def _reply(data: bytes) -> Answer:
    """The milter's own reply, such as "550 5.7.1 Go away"; lines are cleaned where replies are written."""
    lines = [line for line in data.rstrip(b"\0").decode("utf-8", "replace").split("\r\n") if line][:MAX_LINES]
    matches = [_LINE.fullmatch(line) for line in lines]
    if not matches or any(match is None or match[1] != (matches[0] or match)[1] for match in matches):
        raise BadAnswer("the milter's reply is none")
    found = [match for match in matches if match is not None]
    code, first = int(found[0][1]), found[0]
    status = f"{code // 100}.{first[3]}" if first[3] else f"{code // 100}.7.1"
    decision = Decision.REJECT if code >= 500 else Decision.TEMPFAIL
    return Answer(decision, reply(code, status, *(match[4] or "" for match in found)))


def _change(packet: Packet) -> MilterChange:
    data = packet.data
    match packet.kind:
        case b"h":
            name, value = _strings(data, 2)
            return AddField(name, value)
        case b"i" | b"m":
            if len(data) < 4:
                raise BadAnswer("the milter's change cannot be read")
            name, value = _strings(data[4:], 2)
            index = int.from_bytes(data[:4], "big")
            return InsertField(index, name, value) if packet.kind == b"i" else ChangeField(name, index, value)
        case b"b":
            return ReplaceBody(data)
        case b"e":
            return ChangeSender(_address(_strings(data, 1)[0]))
        case b"+" | b"2":
            return AddRecipient(_address(_strings(data, 1)[0]))
        case b"-":
            return RemoveRecipient(_address(_strings(data, 1)[0]))
        case _:
            return Quarantine(data.rstrip(b"\0").decode("utf-8", "replace")[:200])


def _strings(data: bytes, count: int) -> list[bytes]:
    """The first `count` strings; what follows is left unread (parameters of addresses)."""
    parts = data.split(b"\0", count)
    if len(parts) <= count:
        raise BadAnswer("the milter's change cannot be read")
    return parts[:count]


def _address(raw: bytes) -> str:
    text = raw.decode("utf-8", "replace").strip()
    return text[1:-1] if text.startswith("<") and text.endswith(">") else text
