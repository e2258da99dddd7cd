"""/api/queue and /api/suppressions over real HTTP and the real database."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
import structlog

from posthorn_maintenance.api.app import ApiApp
from posthorn_maintenance.api.queue import QueueApi
from posthorn_maintenance.api.suppressions import SuppressionApi
from posthorn_model.events import Control, Event, QueueDue
from posthorn_model.ids import QueueMessageId
from posthorn_model.queue_items import NewQueueMessage, NewRecipient
from posthorn_node.http import server_on
from posthorn_node.listen import open_sockets
from posthorn_storage import Storage

pytestmark = pytest.mark.postgres
Ask = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]


@pytest_asyncio.fixture
async def told(storage: Storage) -> AsyncIterator[list[Event]]:
    """What was published."""
    yield []
    await storage._database.execute("DELETE FROM queue_pause")
    await storage._database.execute("DELETE FROM queue_suppression")


@pytest_asyncio.fixture
async def ask(storage: Storage, told: list[Event]) -> AsyncIterator[Ask]:
    families = {
        "/api/queue": QueueApi(storage, told.append),
        "/api/suppressions": SuppressionApi(storage.queue.suppressions),
    }
    server = server_on(ApiApp({}, "", structlog.get_logger(), families=families), open_sockets("127.0.0.1:0"))
    await server.start()

    async def request(method: str, path: str, body: object = None, kind: str = "application/json") -> Any:
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n"
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        async with asyncio.timeout(20):
            answer = await reader.read()
        writer.close()
        start, _, rest = answer.partition(b"\r\n\r\n")
        return int(start.split()[1]), json.loads(rest)

    yield request
    await server.stop()


async def enqueue(storage: Storage, *addresses: str) -> QueueMessageId:
    blob = await storage.blobs.prepare(b"Subject: hello\r\n\r\nhello\r\n")
    recipients = [NewRecipient(address, address.rpartition("@")[2]) for address in addresses]
    return await storage.queue.enqueue(NewQueueMessage("ann@example.org", blob, recipients))


async def test_messages_are_listed_shown_and_explained(storage: Storage, ask: Ask) -> None:
    first = await enqueue(storage, "bob@example.net")
    second = await enqueue(storage, "eve@example.com", "bob@example.net")
    status, page = await ask("GET", "/api/queue?limit=1")
    assert (status, [each["id"] for each in page["messages"]], page["next"]) == (200, [second], second)
    _, page = await ask("GET", f"/api/queue?limit=1&before={second}")
    assert [each["id"] for each in page["messages"]] == [first]
    _, page = await ask("GET", "/api/queue?site=EXAMPLE.com&state=waiting&sender=ann%40&older=0")
    assert [each["id"] for each in page["messages"]] == [second]
    status, shown = await ask("GET", f"/api/queue/{first}")
    assert (status, shown["recipients"][0]["state"]) == (200, "waiting")
    assert [event["kind"] for event in shown["time_line"]] == ["queued"]
    _, why = await ask("GET", f"/api/queue/{first}/why")
    assert why["recipients"][0]["why"][0] == "It has not been tried yet."


async def test_a_message_is_acted_on_at_once_and_a_filter_is_counted_first(
    storage: Storage, ask: Ask, told: list[Event]
) -> None:
    number = await enqueue(storage, "bob@example.net", "eve@example.com")
    meant = {"recipients": 1, "messages": 1, "in_flight": 0}
    assert await ask("POST", f"/api/queue/{number}/hold", {"recipient": "bob@", "note": "why"}) == (
        200, {"changed": 1, "meant": meant},
    )  # fmt: skip
    assert told == []
    filtered = {"state": "held"}
    assert await ask("POST", "/api/queue/release", filtered) == (200, {"changed": 0, "meant": meant})
    assert await ask("POST", "/api/queue/release", {**filtered, "apply": True}) == (200, {"changed": 1, "meant": meant})
    assert told == [QueueDue(storage.queue.shard_of("example.net"))]
    status, done = await ask("POST", f"/api/queue/{number}/reschedule", {"at": "2040-01-02T03:04:05Z"})
    assert (status, done["changed"]) == (200, 2)
    assert {each.due.year for each in (await storage.queue.show(number)).recipients} == {2040}
    status, done = await ask("POST", f"/api/queue/{number}/cancel")
    assert (status, done["changed"]) == (200, 2)
    assert (await storage.queue.show(number)).done_at is not None


async def test_pauses_are_made_listed_and_ended(ask: Ask, told: list[Event]) -> None:
    status, pause = await ask("POST", "/api/queue/pauses", {"site": "Example.NET", "reason": "asked", "seconds": 60})
    assert (status, pause["scope"], pause["name"]) == (200, "site", "example.net")
    await ask("POST", "/api/queue/pauses", {"everything": True})
    _, found = await ask("GET", "/api/queue/pauses")
    assert [(each["scope"], each["reason"], each["ending"]) for each in found["pauses"]] == [
        ("site", "asked", False), ("everything", "", False),
    ]  # fmt: skip
    assert await ask("POST", "/api/queue/resume", {"everything": True}) == (200, {"scope": "everything", "name": ""})
    assert told == [Control("queue-pauses")] * 3
    status, problem = await ask("POST", "/api/queue/resume", {"route": "relay:25"})
    assert (status, problem["detail"]) == (404, "that is not paused")


async def test_suppressions_are_entered_listed_and_removed(ask: Ask) -> None:
    entry = {"address": "Bob@example.net", "scope": "example.org", "source": "complaint", "reason": "x", "seconds": 60}
    assert await ask("POST", "/api/suppressions", entry) == (200, {"entered": 1})
    assert await ask("POST", "/api/suppressions", {"address": "eve@example.net"}) == (200, {"entered": 1})
    _, page = await ask("GET", "/api/suppressions?limit=1")
    assert [each["address"] for each in page["suppressions"]] == ["bob@example.net"]
    _, page = await ask("GET", f"/api/suppressions?after={page['next']['after']}&after_scope=example.org")
    assert [(each["address"], each["scope"], each["source"]) for each in page["suppressions"]] == [
        ("eve@example.net", "", "operator")
    ]
    assert await ask("DELETE", "/api/suppressions", {"address": "bob@example.net"}) == (200, {"removed": 1})
    assert (await ask("DELETE", "/api/suppressions", {"address": "bob@example.net"}))[0] == 404


MISTAKES: list[tuple[str, str, object, int]] = [
    ("GET", "/api/queue/99999999", None, 404),
    ("GET", "/api/queue/99999999/why", None, 404),
    ("POST", "/api/queue/99999999/hold", None, 404),
    ("GET", "/api/queue/99999999999999999999999999", None, 400),
    ("GET", "/api/queue/rubbish", None, 404),
    ("GET", "/api/queue/hold", None, 404),
    ("PUT", "/api/queue/hold", None, 405),
    ("GET", "/api/queue?site=%20", None, 400),
    ("GET", "/api/queue?state=lost", None, 400),
    ("GET", "/api/queue?older=soon", None, 400),
    ("GET", "/api/queue?older=nan", None, 400),
    ("GET", "/api/queue?colour=red", None, 400),
    ("GET", "/api/queue?limit=-1", None, 400),
    ("GET", "/api/queue?sender=%00", None, 400),
    ("POST", "/api/queue/cancel", {}, 400),
    ("POST", "/api/queue/cancel", {"apply": True}, 400),
    ("POST", "/api/queue/cancel", b"[1]", 400),
    ("POST", "/api/queue/cancel", b"[" * 60_000, 400),
    ("POST", "/api/queue/cancel", b" " * 70_000, 413),
    ("POST", "/api/queue/cancel", {"sender": 7}, 400),
    ("POST", "/api/queue/reschedule", {"sender": "a", "apply": True, "at": "tomorrow"}, 400),
    ("POST", "/api/queue/pauses", {"site": "a.example", "everything": True}, 400),
    ("POST", "/api/queue/pauses", {}, 400),
    ("POST", "/api/suppressions", {"address": "nobody"}, 400),
    ("POST", "/api/suppressions", {"address": "a@b.example", "source": "rumour"}, 400),
    ("GET", "/api/suppressions?source=rumour", None, 400),
    ("GET", "/api/suppressions/x", None, 404),
]


async def test_mistakes_are_told(ask: Ask) -> None:
    for method, path, body, status in MISTAKES:
        found, problem = await ask(method, path, body)
        assert (found, problem["status"]) == (status, status), (method, path, body)


async def test_a_page_in_a_browser_cannot_act(ask: Ask) -> None:
    assert (await ask("POST", "/api/queue/cancel", {"sender": "a", "apply": True}, kind="text/plain"))[0] == 415
