"""rspamd's protocol: POST /checkv2 over HTTP/1.1, the envelope in fields, the answer in JSON."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import h11

from posthorn_smtp_in.filters.changes import MAX_CHANGES, AddField, Change, ChangeField, InsertField, RemoveFields
from posthorn_smtp_in.filters.protocol.problems import BadAnswer

MAX_BODY = 1 << 20
MAX_SYMBOLS = 500
MAX_WORDS = 300

_SYMBOL = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class SpamJudgement:
    """What rspamd thinks of a message."""

    action: str
    """Such as "no action", "add header", "soft reject", "reject"."""
    score: float
    required: float | None
    """The score of the action "reject"."""
    symbols: tuple[str, ...]
    words: str
    """For the client, "" when rspamd leaves them to others."""
    changes: tuple[Change, ...]


class Exchange:
    """One request and its response. Send `head`, then each piece through `body`, then `end`; feed what comes."""

    def __init__(self, host: str, fields: Iterable[tuple[str, str]], size: int) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=16384)
        own = [("Host", host), ("Content-Length", str(size)), ("Connection", "keep-alive")]
        self._fields = [(name.encode(), value.encode()) for name, value in (*own, *fields) if value]
        self._status = 0
        self._body = bytearray()

    def head(self) -> bytes:
        """The request line and fields. Raises ValueError for a value that cannot stand in a field."""
        try:
            return self._http.send(h11.Request(method="POST", target="/checkv2", headers=self._fields)) or b""
        except h11.LocalProtocolError as error:
            raise ValueError(f"the envelope cannot be told in HTTP: {error}") from None

    def body(self, piece: bytes) -> bytes:
        """A piece of the message."""
        return self._http.send(h11.Data(data=piece)) or b""

    def end(self) -> bytes:
        """What goes behind the message."""
        return self._http.send(h11.EndOfMessage()) or b""

    def feed(self, data: bytes) -> SpamJudgement | None:
        """The judgement once it is complete; b"" is the end of the stream. Raises BadAnswer."""
        try:
            self._http.receive_data(data)
            while True:
                event = self._http.next_event()
                match event:
                    case h11.NEED_DATA | h11.PAUSED:
                        return None
                    case h11.Response():
                        self._status = event.status_code
                    case h11.Data():
                        self._body += event.data
                        if len(self._body) > MAX_BODY:
                            raise BadAnswer("rspamd's answer is too long")
                    case h11.EndOfMessage():
                        return self._judgement()
                    case h11.ConnectionClosed():
                        raise BadAnswer("rspamd closed in the middle of its answer")
        except h11.RemoteProtocolError as error:
            raise BadAnswer(f"this is not rspamd: {error}") from None

    @property
    def reusable(self) -> bool:
        """Whether another request can follow on the connection."""
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def _judgement(self) -> SpamJudgement:
        if self._status != 200:
            raise BadAnswer(f"rspamd answered with status {self._status}")
        return read_judgement(bytes(self._body))


def read_judgement(body: bytes) -> SpamJudgement:
    """The judgement out of the JSON of a response. Raises BadAnswer."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise BadAnswer("rspamd's answer is no JSON") from None
    if not isinstance(answer, dict) or not (answer.get("action") and isinstance(answer["action"], str)):
        raise BadAnswer("rspamd did not say what to do")
    score = _number(answer.get("score"))
    if score is None:
        raise BadAnswer("rspamd gave no score")
    messages = _table(answer.get("messages"))
    words = messages.get("smtp_message")
    return SpamJudgement(
        action=answer["action"][:40],
        score=score,
        required=_number(answer.get("required_score")),
        symbols=tuple(name for name in _table(answer.get("symbols")) if _SYMBOL.fullmatch(name))[:MAX_SYMBOLS],
        words=_CONTROLS.sub(" ", words)[:MAX_WORDS] if isinstance(words, str) else "",
        changes=_changes(answer),
    )


def _changes(answer: Mapping[str, Any]) -> tuple[Change, ...]:
    milter = _table(answer.get("milter"))
    found: list[Change] = []
    for name, which in _table(milter.get("remove_headers")).items():
        if isinstance(which, int):
            raw = _octets(name)
            found.append(ChangeField(raw, which, b"") if which else RemoveFields(raw))
    for name, values in _table(milter.get("add_headers")).items():
        found += [_added(_octets(name), value) for value in _several(values)]
    signatures = _several(answer.get("dkim-signature", []))
    found += [InsertField(1, b"DKIM-Signature", _octets(each)) for each in signatures if isinstance(each, str)]
    if len(found) > MAX_CHANGES:
        raise BadAnswer("rspamd wants too many changes")
    return tuple(found)


def _added(name: bytes, value: Any) -> Change:
    if isinstance(value, str):
        return AddField(name, _octets(value))
    text, order = _table(value).get("value"), _table(value).get("order", -1)
    if not isinstance(text, str) or not isinstance(order, int):
        raise BadAnswer("rspamd wants a field without a value")
    return InsertField(order, name, _octets(text)) if order >= 0 else AddField(name, _octets(text))


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e9 < value < 1e9:
        return None
    return float(value) if math.isfinite(value) else None


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "replace")
