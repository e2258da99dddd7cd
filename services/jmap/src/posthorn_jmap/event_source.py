"""EventSource push (RFC 8620 7.3): a stream of StateChange objects and pings."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.errors import RequestProblem
from posthorn_jmap.push import Watchers
from posthorn_model.events import PUSHED, ChangeKind
from posthorn_model.ids import AccountId, Modseq
from posthorn_storage import Storage

MIN_PING, MAX_PING = 5, 900


@dataclass(frozen=True, slots=True)
class Subscription:
    """The query of an EventSource URL. `ping` is in seconds, 0 for none."""

    types: frozenset[ChangeKind]
    close_after_state: bool
    ping: int
    last: Modseq | None = None
    """What the client heard last before it lost another event source."""


def subscription(query: Mapping[str, str], last_event: str = "") -> Subscription:
    """Read the query and the Last-Event-ID header. Raises RequestProblem."""
    wanted = query.get("types", "*")
    types = frozenset(kind for kind in PUSHED if wanted == "*" or kind.value in wanted.split(","))
    close_after = query.get("closeafter", "no")
    ping = query.get("ping", "0")
    if close_after not in ("state", "no") or not ping.isascii() or not ping.isdigit() or len(ping) > 9:
        raise RequestProblem("about:blank", "closeafter is state or no; ping is a number of seconds")
    seconds = int(ping)
    interval = min(max(seconds, MIN_PING), MAX_PING) if seconds else 0
    known = last_event.isascii() and last_event.isdigit() and len(last_event) < 19
    return Subscription(types, close_after == "state", interval, Modseq(int(last_event)) if known else None)


async def stream(
    storage: Storage, watchers: Watchers, account: AccountId, wanted: Subscription, ended: asyncio.Event
) -> AsyncIterator[bytes]:
    """The events, until the client goes, `ended` is set, or the first state with closeafter=state."""
    before = await storage.mail.state(account)
    with watchers.watching(account, before) as watch:
        yield b": connected\r\n\r\n"
        # What changed before the watch stood, or while the client was away, has told nobody.
        now = await storage.mail.state(account)
        if now > (before if wanted.last is None else wanted.last):
            watch.notice(now, PUSHED)
        while not ended.is_set():
            if await _wait(watch.changed, ended, wanted.ping):
                modseq, kinds = watch.take()
                moved = {kind.value: str(modseq) for kind in PUSHED if kind in kinds and kind in wanted.types}
                if moved:
                    changed = {"@type": "StateChange", "changed": {ids.to_wire("a", account): moved}}
                    yield b"id: %d\r\n" % modseq + _event("state", changed)
                    if wanted.close_after_state:
                        return
            elif not ended.is_set():
                yield _event("ping", {"interval": wanted.ping})


async def _wait(changed: asyncio.Event, ended: asyncio.Event, ping: int) -> bool:
    """Whether `changed` was set before a ping was due or the stream had to end."""
    waits = {asyncio.ensure_future(changed.wait()), asyncio.ensure_future(ended.wait())}
    try:
        await asyncio.wait(waits, timeout=ping or None, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return changed.is_set()


def _event(name: str, data: object) -> bytes:
    return f"event: {name}\r\ndata: {json.dumps(data, separators=(',', ':'))}\r\n\r\n".encode()
