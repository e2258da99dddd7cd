"""Three nodes of imap over one database, and ten clients at work on one account; in the end everybody must agree."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.workload.client import MAILBOXES, Client
from tests.workload.truth import Truth
from tests.workload.wire import Lost

from posthorn_storage import FsSettings, Storage, StorageSettings
from posthorn_storage.shards.registry import register
from posthorn_testkit.node_settings import local
from posthorn_testkit.process import ServiceProcess, start_service

NODES = (1, 2, 3)
CLIENTS = 10
LOGIN = ("ann@example.org", "secret")
AGREED_SECONDS = 90.0
"""Until all have heard of everything: by an event, or else by the self-check."""
DOWN_SECONDS = 3.0
"""Until a killed node is started again."""

SETTINGS = local("""
[cluster]
name = "imap-run"
node-id = {node}
secret = "only for this run, and for nothing else"
[server]
hostname = "node{node}.example.org"
data = "{folder}/{node}"
drain-delay = "0s"
[server.listener.imap]
protocol = "imap"
bind = "127.0.0.1:0"
allow-plaintext-auth = true
[storage]
data = "postgres"
blob = "fs"
[store.postgres.pool]
max-connections = 6
""")


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, from which seed, and how many nodes are killed meanwhile."""

    seconds: float
    seed: int
    kills: int = 0
    say: Callable[[str], None] = print


class Nodes:
    """The processes, and where a balancer would send a client: to any that is up."""

    def __init__(self, folder: Path, dsn: str, draw: random.Random) -> None:
        self._configs = {node: folder / f"{node}.toml" for node in NODES}
        self._draw = draw
        self.processes: dict[int, ServiceProcess] = {}
        self.addresses: dict[int, tuple[str, int]] = {}
        for node, config in self._configs.items():
            config.write_text(SETTINGS.format(node=node, folder=folder, dsn=dsn))

    async def start(self, node: int) -> None:
        self.processes[node] = await start_service("posthorn_imap", self._configs[node])
        self.addresses[node] = ("127.0.0.1", (await self.processes[node].listening("imap"))["port"])

    async def kill(self, node: int) -> None:
        """kill -9."""
        del self.addresses[node]
        await self.processes[node].kill()

    def any(self) -> tuple[str, int]:
        return self.addresses[self._draw.choice(sorted(self.addresses))]

    def complaints(self) -> list[str]:
        """What went wrong inside of them."""
        lines = [line for each in self.processes.values() for line in each.lines]
        return [str(line) for line in lines if line.get("level") in ("error", "critical")]


@asynccontextmanager
async def running(folder: Path, dsn: str, draw: random.Random) -> AsyncIterator[Nodes]:
    nodes = Nodes(folder, dsn, draw)
    try:
        for node in NODES:
            await nodes.start(node)
        yield nodes
    finally:
        for process in nodes.processes.values():
            await process.kill()


async def play(dsn: str, folder: Path, plan: Plan) -> Truth:
    """The whole run on a migrated database without accounts. Raises AssertionError at the first deviation."""
    settings = StorageSettings(dsn=dsn, blobs=FsSettings(folder / "blobs"))
    async with AsyncExitStack() as stack:
        await register(settings)
        storage = await Storage.open(settings)
        await make_account(storage)
        await storage.close()
        draw = random.Random(plan.seed)
        nodes = await stack.enter_async_context(running(folder, dsn, draw))
        truth = Truth()
        clients = [
            Client(f"k{number}", LOGIN, nodes.any, truth, random.Random(f"{plan.seed} {number}"))
            for number in range(CLIENTS)
        ]
        deadline = asyncio.get_running_loop().time() + plan.seconds
        try:
            async with asyncio.TaskGroup() as group:
                for client in clients:
                    group.create_task(work(client, deadline))
                group.create_task(strike(nodes, clients, plan, draw, deadline))
        except* AssertionError as wrong:
            raise wrong.exceptions[0] from wrong
        await judge(nodes, clients, truth)
        assert not nodes.complaints(), nodes.complaints()[:3]
        return truth


async def make_account(storage: Storage) -> None:
    """The account, with its default mailboxes."""
    await storage.directory.add_domain("example.org")
    await storage.directory.add_account(*LOGIN)


async def work(client: Client, until: float) -> None:
    while asyncio.get_running_loop().time() < until:
        try:
            await client.step()
        except AssertionError as wrong:
            said = "" if client.wire is None else client.wire.story()
            raise AssertionError(f"{client.name} in {client.box.decode() or 'no mailbox'}: {wrong}\n{said}") from wrong


async def strike(nodes: Nodes, clients: list[Client], plan: Plan, draw: random.Random, until: float) -> None:
    """kill -9, at even distances while the clients work; another process of the node comes a little later."""
    for _ in range(plan.kills):
        await asyncio.sleep(max(0.1, plan.seconds / (plan.kills + 1) - DOWN_SECONDS))
        if asyncio.get_running_loop().time() > until:
            return
        # One that has clients, if there is: of others nobody notices the loss.
        ports = {client.wire.port for client in clients if client.wire is not None}
        node = draw.choice([node for node in NODES if nodes.addresses[node][1] in ports] or NODES)
        await nodes.kill(node)
        plan.say(f"killed node {node}")
        await asyncio.sleep(DOWN_SECONDS)
        await nodes.start(node)


async def judge(nodes: Nodes, clients: list[Client], truth: Truth) -> None:
    """All nodes show the same, which is what was acknowledged, and what each client believes of it."""
    found = {node: await shown(address) for node, address in sorted(nodes.addresses.items())}
    first = found[NODES[0]]
    assert all(each == first for each in found.values()), "the nodes show different mailboxes"
    for mailbox, messages in first.items():
        here, uids = truth.here[mailbox], set(messages)
        gone = {uid for each, uid in truth.gone if each == mailbox}
        assert not uids & gone, f"expunged and here: {sorted(uids & gone)}"
        lost = {uid for uid in here - uids if not truth.may_be_gone((mailbox, uid))}
        assert not lost, f"acknowledged and lost: {sorted(lost)}"
        for uid, (word, modseq, flags) in messages.items():
            assert uid in here or word in truth.unanswered, f"nobody has stored UID {uid}, {word}"
            truth.stored(mailbox, uid, word)
            truth.flags(mailbox, uid, modseq, frozenset(flags))
    for client in clients:
        await agree(client, first)
    truth.counts["messages in the end"] = sum(map(len, first.values()))


Shown = dict[bytes, dict[int, tuple[str, int, tuple[str, ...]]]]
"""By mailbox and UID: the word of a message, its mod-sequence, its flags."""


async def shown(address: tuple[str, int]) -> Shown:
    """All mailboxes as a node shows them to somebody new."""
    found: Shown = {}
    truth = Truth()
    reader = Client("reader", LOGIN, lambda: address, truth, random.Random(0))
    wire = await reader.connect()
    for box in MAILBOXES:
        await reader.open(box)
        if reader.mirror.uids:
            await wire.ask(b"FETCH 1:* (UID FLAGS MODSEQ BODY.PEEK[HEADER])")
        found[box] = {
            uid: (
                truth.content[box, uid],
                reader.mirror.modseqs[uid],
                tuple(sorted(reader.mirror.flags[uid])),
            )
            for uid in reader.mirror.uids
        }
    wire.close()
    return found


async def agree(client: Client, shown_: Shown) -> None:
    """Wait until a client that has stayed has heard everything."""
    if client.wire is None or not client.opened:
        return
    try:
        async with asyncio.timeout(AGREED_SECONDS):
            while True:
                uids, flags, modseqs = await client.settled()
                now = shown_[client.box]
                if uids == sorted(now) and all(
                    (modseqs[uid], tuple(sorted(flags.get(uid, ())))) == now[uid][1:] for uid in uids
                ):
                    client.truth.counts["clients that agree"] += 1
                    return
                await asyncio.sleep(0.2)
    except Lost:
        return
    except TimeoutError:
        raise AssertionError(f"{client.name} does not hear of everything in {client.box!r}") from None
