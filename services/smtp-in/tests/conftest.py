"""smtp-in as it runs: real database, real sockets, all its listeners, on uvloop in the test's own process."""

import asyncio
import fnmatch
import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import pytest_asyncio
import structlog
import uvloop

from posthorn_delivery import make_scripts
from posthorn_mail_auth.dns_client import DnsResolver
from posthorn_model.clock import SystemClock
from posthorn_model.dmarc import DmarcObservation
from posthorn_model.events import Event
from posthorn_model.mail import Role
from posthorn_node.metrics import Metrics
from posthorn_node.settings import ListenerSettings, ServerSettings
from posthorn_node.stream.door import Door
from posthorn_node.stream.reception import Reception
from posthorn_node.tls import TlsContexts
from posthorn_smtp_in.figures import Figures
from posthorn_smtp_in.filters.roster import make_roster
from posthorn_smtp_in.judging.judging import make_judging
from posthorn_smtp_in.listening import make_reception
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.settings import SessionLimits, SessionTimes, SmtpInSettings
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.mail.messages import MessageFields

HOSTNAME = "mx.example.org"
LISTENERS: Mapping[str, dict[str, Any]] = {
    "smtp": {"protocol": "smtp"},
    "submission": {"protocol": "submission"},
    "plain": {"protocol": "submission", "tls": "none", "allow_plaintext_auth": True},
    "submissions": {"protocol": "submission", "tls": "implicit"},
    "lmtp": {"protocol": "lmtp", "tls": "none"},
    "proxied": {"protocol": "smtp", "proxy_networks": ("127.0.0.0/8",)},
}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


class Talk:
    """A client that reads as the conversation it has: `await talk.play("C: ... / S: ...")`; patterns are globs."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.transport.abort()

    async def play(self, text: str) -> None:
        """Lines "C: ..." are sent with CRLF, "S: ..." must match one whole reply (its lines joined by "|")."""
        for line in filter(None, (line.strip() for line in text.splitlines())):
            who, said = line[:2], line[3:]
            if who == "C:":
                self.send(said.encode() + b"\r\n")
            else:
                found = await self.reply()
                assert fnmatch.fnmatchcase(found, said), f"expected {said!r}, got {found!r}"

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self) -> str:
        """One whole reply, "" when the server has closed."""
        lines = []
        async with asyncio.timeout(90):
            while line := await self.reader.readline():
                assert line.endswith(b"\r\n")
                assert len(line) <= 512
                lines.append(line.decode().rstrip())
                if line[3:4] == b" ":
                    break
        return "|".join(lines)

    async def starttls(self) -> None:
        await self.writer.start_tls(client_tls())


def client_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Service:
    """The listeners by name, and what tests look at."""

    def __init__(
        self, parts: Parts, receptions: Mapping[str, Reception], events: list[Event], log: io.StringIO
    ) -> None:
        self.parts = parts
        self.receptions = receptions
        self.events = events
        self.log = log

    def port(self, name: str) -> int:
        return self.receptions[name].addresses()[0][1]

    async def connect(self, name: str = "smtp", *, tls: bool = False) -> Talk:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port(name), ssl=client_tls() if tls else None)
        return Talk(reader, writer)

    async def inbox(self, account: AccountRecord) -> list[bytes]:
        """The content of every message in the inbox, in order of UID."""
        mail = self.parts.storage.mail
        boxes = [box for box in await mail.mailboxes(account.id) if box.role is Role.INBOX]
        entries = await mail.entries(account.id, boxes[0].id)
        stored = {
            each.id: each
            for each in await mail.messages(account.id, [entry.message for entry in entries], MessageFields.NONE)
        }
        return [await self.parts.storage.blobs.read(account.id, stored[entry.message].blob) for entry in entries]


Start = Callable[..., Awaitable[Service]]


@pytest_asyncio.fixture
async def start(storage: Storage, tmp_path: Path) -> AsyncIterator[Start]:
    """`await start(limits={...}, timeouts={...}, **settings)` starts all listeners on free ports."""
    running: list[Reception] = []
    contexts = TlsContexts(ServerSettings(hostname=HOSTNAME, data=tmp_path))

    async def begin(
        limits: Mapping[str, Any] | None = None,
        timeouts: Mapping[str, Any] | None = None,
        resolver: DnsResolver | None = None,
        observe: Callable[[DmarcObservation], None] | None = None,
        **settings: Any,
    ) -> Service:
        if resolver is None:  # nobody is judged
            settings["auth"] = dict.fromkeys(("spf", "dkim", "dmarc", "arc", "iprev"), "off")
        else:
            settings["auth"] = {"timeout": 60.0, **settings.get("auth", {})}
        own = SmtpInSettings(
            limits=SessionLimits(**(limits or {})), timeouts=SessionTimes(**(timeouts or {})), **settings
        )
        listeners = [ListenerSettings(name=name, bind=("127.0.0.1:0",), **fields) for name, fields in LISTENERS.items()]
        events: list[Event] = []
        spool = tmp_path / "spool"
        spool.mkdir(exist_ok=True)
        log = io.StringIO()
        metrics = Metrics()
        figures = Figures(metrics)
        wrapped = structlog.wrap_logger(
            structlog.WriteLogger(log),
            [structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
        )
        parts = Parts(
            settings=own,
            hostname=HOSTNAME,
            storage=storage,
            publish=events.append,
            tls_context=contexts.server_context,
            clock=SystemClock(),
            log=wrapped,
            figures=figures,
            filters=make_roster(own.filter, listeners),
            judging=make_judging(
                own.auth,
                listeners,
                relays=own.relay.networks,
                resolver=resolver or DnsResolver([("127.0.0.1", 9)]),
                figures=figures,
                clock=SystemClock(),
                log=wrapped,
                observe=observe,
            ),
            door=Door(own.limits.connections, own.limits.connections_per_address),
            spool=spool,
            large=asyncio.Semaphore(own.limits.large_deliveries),
            scripts=make_scripts(storage, HOSTNAME, SystemClock(), wrapped, seal=True),
        )
        receptions = {}
        for listener in listeners:
            receptions[listener.name] = make_reception(parts, listener)
            receptions[listener.name].open()
            running.append(receptions[listener.name])
        return Service(parts, receptions, events, log)

    yield begin
    await asyncio.gather(*(reception.stop() for reception in running))


@pytest_asyncio.fixture
async def service(start: Start) -> Service:
    """All listeners with default settings."""
    return await start()


@pytest_asyncio.fixture
async def people(account: Callable[..., Awaitable[AccountRecord]]) -> Sequence[AccountRecord]:
    """Ann (password "correct horse") and Bob, both of example.org."""
    return [await account("ann@example.org", "correct horse"), await account("bob@example.org", "battery staple")]
