"""jmap as it answers: real database, real HTTP over connections that live on, in the test's own event loop."""

import asyncio
import base64
import http.client
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import pytest_asyncio
import structlog
import uvloop

from posthorn_bus import BusIdentity, PeerSettings, open_bus
from posthorn_jmap.calls import Calls
from posthorn_jmap.flow import JmapApp
from posthorn_jmap.gates import Gates
from posthorn_jmap.methods.push_subscription import application_key
from posthorn_jmap.push import Watchers
from posthorn_jmap.registry import METHODS
from posthorn_jmap.settings import JmapSettings
from posthorn_model.clock import SystemClock
from posthorn_model.events import Event
from posthorn_model.ids import NodeId
from posthorn_node.http import server_on
from posthorn_node.listen import open_sockets
from posthorn_storage import AccountRecord, Storage

PASSWORD = "correct horse"
USING = ["urn:ietf:params:jmap:core", "urn:ietf:params:jmap:mail", "urn:ietf:params:jmap:submission"]
MESSAGE = (
    b"From: Bob <bob@example.net>\r\nTo: Ann <ann@example.org>\r\nSubject: Greetings\r\n"
    b"Date: Mon, 05 Jan 2026 10:00:00 +0100\r\nMessage-ID: <one@example.net>\r\nX-Colour: blue\r\n\r\nGood morning.\r\n"
)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Client:
    """One account's JMAP client: one HTTP connection that must live through everything it is used for."""

    base: str
    address: str = "ann@example.org"
    password: str = PASSWORD
    account: str = ""
    session: dict[str, Any] = field(default_factory=dict)
    connection: http.client.HTTPConnection | None = None
    connected: int = 0

    async def open(self) -> "Client":
        """Read the session."""
        self.session = (await self.request("GET", "/.well-known/jmap")).json
        self.account = self.session["primaryAccounts"]["urn:ietf:params:jmap:mail"]
        return self

    async def request(
        self, method: str, url: str, body: bytes | None = None, content_type: str | None = None, **headers: str
    ) -> Reply:
        """One request on the client's connection."""
        token = base64.b64encode(f"{self.address}:{self.password}".encode()).decode()
        sent = {"Authorization": f"Basic {token}", **{name.replace("_", "-"): text for name, text in headers.items()}}
        if content_type is not None:
            sent["Content-Type"] = content_type
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path

        def work() -> Reply:
            if self.connection is None or self.connection.sock is None:
                self.connection = http.client.HTTPConnection(urlsplit(self.base).netloc, timeout=30)
                self.connected += 1
            self.connection.request(method, target, body, sent)
            answer = self.connection.getresponse()
            found = {name.lower(): text for name, text in answer.getheaders()}
            return Reply(answer.status, found, answer.read())

        return await asyncio.to_thread(work)

    async def post(self, payload: Any, content_type: str = "application/json") -> Reply:
        """An API request; `payload` is JSON-able, or bytes as they are."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return await self.request("POST", self.session["apiUrl"], body, content_type)

    async def calls(self, *calls: tuple[str, dict[str, Any]], **more: Any) -> list[tuple[str, dict[str, Any], str]]:
        """Method calls c0, c1, ... of one request; accountId is added."""
        named = [
            [name, {"accountId": self.account, **arguments}, f"c{index}"]
            for index, (name, arguments) in enumerate(calls)
        ]
        reply = await self.post({"using": USING, "methodCalls": named, **more})
        assert reply.status == 200, reply.body
        return [(name, arguments, call) for name, arguments, call in reply.json["methodResponses"]]

    async def bare(self, name: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
        """One method call with these arguments and no others; returns what answered, and how."""
        reply = await self.post({"using": USING, "methodCalls": [[name, arguments, "c0"]]})
        assert reply.status == 200, reply.body
        ((answered, found, _),) = reply.json["methodResponses"]
        return answered, found

    async def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """One method call that must answer under its own name."""
        ((answered, found, _), *_) = await self.calls((name, arguments))
        assert answered == name, found
        return found

    async def fails(self, name: str, **arguments: Any) -> str:
        """One method call that must answer with an error; returns its type."""
        ((answered, found, _),) = await self.calls((name, arguments))
        assert answered == "error", found
        return str(found["type"])

    async def upload(self, data: bytes, content_type: str = "message/rfc822") -> dict[str, Any]:
        """Upload; returns the answer."""
        url = self.session["uploadUrl"].replace("{accountId}", self.account)
        reply = await self.request("POST", url, data, content_type)
        assert reply.status == 201, reply.body
        found: dict[str, Any] = reply.json
        return found

    async def download(self, blob: str, name: str = "a file.bin", media_type: str = "text/plain") -> Reply:
        """Download by the session's URL template."""
        url = self.session["downloadUrl"]
        for key, text in (("accountId", self.account), ("blobId", blob), ("name", name), ("type", media_type)):
            url = url.replace("{" + key + "}", quote(text, safe=""))
        return await self.request("GET", url)

    async def boxes(self) -> dict[str, str]:
        """Mailbox ids by role."""
        found = await self.call("Mailbox/get", ids=None)
        return {box["role"]: box["id"] for box in found["list"] if box["role"]}

    async def add(self, raw: bytes = MESSAGE, role: str = "inbox", **fields: Any) -> dict[str, Any]:
        """Import a message; returns what was created."""
        blob = (await self.upload(raw))["blobId"]
        email = {"blobId": blob, "mailboxIds": {(await self.boxes())[role]: True}, **fields}
        answer = await self.call("Email/import", emails={"k": email})
        assert answer["notCreated"] is None, answer
        found: dict[str, Any] = answer["created"]["k"]
        return found

    async def email(self, email: str, **arguments: Any) -> dict[str, Any]:
        """One email by Email/get."""
        (found,) = (await self.call("Email/get", ids=[email], **arguments))["list"]
        return dict(found)


class Events:
    """An open EventSource."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, client: Any, query: str, *fields: str) -> "Events":
        reader, writer = await asyncio.open_connection(*urlsplit(client.base).netloc.split(":"))
        token = base64.b64encode(f"{client.address}:{client.password}".encode()).decode()
        lines = [
            f"GET /jmap/eventsource/?{query} HTTP/1.1",
            "Host: x",
            f"Authorization: Basic {token}",
            *fields,
            "",
            "",
        ]
        writer.write("\r\n".join(lines).encode())
        events = cls(reader, writer)
        assert b" 200 " in (await events.until(b"\r\n\r\n"))
        await events.until(b": connected")
        return events

    async def until(self, mark: bytes) -> bytes:
        async with asyncio.timeout(60):
            return await self.reader.readuntil(mark)


@dataclass(slots=True)
class Served:
    """The service, and what it told the bus."""

    base: str
    storage: Storage
    events: list[Event]
    app: JmapApp

    async def client(self, address: str = "ann@example.org", password: str = PASSWORD) -> Client:
        return await Client(self.base, address, password).open()


Serve = Callable[..., Awaitable[Served]]


@pytest_asyncio.fixture
async def serve(storage: Storage) -> AsyncIterator[Serve]:
    """`await serve(**settings)`: the service on a free port, with a bus that is not connected."""
    servers = []

    async def begin(**settings: Any) -> Served:
        own = JmapSettings(**settings)
        sockets = open_sockets("127.0.0.1:0")
        base = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        log = structlog.get_logger()
        bus = open_bus(PeerSettings(secret="s"), BusIdentity(NodeId(1), "jmap", "b"), storage.nodes.peer_directory("b"))
        events: list[Event] = []
        app = JmapApp(
            storage=storage,
            settings=own,
            calls=Calls(METHODS, log),
            watchers=Watchers(storage, bus, log, lambda number: None),
            gates=Gates(own.limits()),
            log=log,
            clock=SystemClock(),
            answered=lambda resource, status, seconds: None,
            publish=events.append,
            base=base,
            hostname="mail.example.org",
            plaintext_login=True,
            vapid=await application_key(storage),
        )
        server = server_on(app, sockets)
        await server.start()
        servers.append((server, app))
        return Served(base, storage, events, app)

    yield begin
    for server, app in servers:
        app.ended.set()
        await server.stop()


@pytest_asyncio.fixture
async def served(serve: Serve) -> Served:
    """The service with default settings."""
    return await serve()


@pytest_asyncio.fixture
async def jmap(served: Served, account: Callable[..., Awaitable[AccountRecord]]) -> Client:
    """Ann's client; Ann is the only user."""
    await account("ann@example.org", PASSWORD)
    return await served.client()


@pytest.fixture
def make_client() -> Callable[..., Awaitable[Client]]:
    """`await make_client(base)`: Ann's client of a service elsewhere; it reads the session unless not `ready`."""

    async def make(base: str, *, ready: bool = True) -> Client:
        client = Client(base)
        return await client.open() if ready else client

    return make


@pytest.fixture
def open_events() -> Callable[..., Awaitable[Events]]:
    """`await open_events(client, query)`: an open EventSource."""
    return Events.open
