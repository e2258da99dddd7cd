"""A process with a bus of its own that says what it hears and publishes what it is told, where one process cannot do.

It may speak another version of the envelope (`schema`, the source of that version as it was recorded), and may reach a
port of this machine through another one (`ways`), which a test can shut. Plan and orders are lines of JSON.
"""

import asyncio
import importlib.util
import json
import os
import pickle
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from posthorn_model.events import Event, Received
    from posthorn_testkit.contracts.fleet import Fleet


@dataclass
class Speaker:
    """The process, as the test that started it sees it."""

    boot: str
    process: asyncio.subprocess.Process
    heard: list["Received"] = field(default_factory=list)
    health: dict[str, Any] = field(default_factory=dict)
    """The numbers of its bus's health, as it said last."""

    def publish(self, *events: "Event") -> None:
        """Have it publish these events, in order."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"publish": _packed(events)}).encode() + b"\n")

    def ask_health(self) -> None:
        """Have it say its health."""
        assert self.process.stdin is not None
        self.process.stdin.write(b'{"health": true}\n')

    async def listen(self) -> None:
        """Note what it says."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            said = json.loads(line)
            if "heard" in said:
                self.heard.append(_unpacked(said["heard"]))
            else:
                self.health = said["health"]


@asynccontextmanager
async def speaker(
    fleet: "Fleet",
    node: int,
    *,
    schema: Path | None = None,
    ways: Mapping[int, int] | None = None,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Speaker]:
    """Run one; it listens to every topic. `environ` is added to this process's environment."""
    from posthorn_bus import BusIdentity
    from posthorn_model.ids import NodeId

    identity = BusIdentity(NodeId(node), "imap", uuid4().hex)
    await fleet.beat(identity)
    plan = {
        "dsn": fleet.dsn,
        "settings": _packed(fleet.settings()),
        "identity": _packed(identity),
        "schema": str(schema) if schema else None,
        "ways": {str(port): other for port, other in (ways or {}).items()},
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "posthorn_testkit.contracts.speaker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
        env={**os.environ, **(environ or {})},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(plan).encode() + b"\n")
    found = Speaker(identity.boot, process)
    listening = asyncio.create_task(found.listen())
    try:
        yield found
    finally:
        process.kill()
        await process.wait()
        await listening


def _packed(value: object) -> str:
    return pickle.dumps(value).hex()


def _unpacked(text: str) -> Any:
    return pickle.loads(bytes.fromhex(text))


def _say(**said: object) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _speak_version(path: Path) -> None:
    """Put another version of the envelope in the place of this one, before anything imports it."""
    loader = importlib.util.spec_from_loader("posthorn_bus.envelope", loader=None)
    assert loader is not None
    module = importlib.util.module_from_spec(loader)
    sys.modules["posthorn_bus.envelope"] = module
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    # What the first version did not know is never made where that version is spoken.
    module.__dict__.setdefault("Lost", type("Lost", (), {}))


class _Detour(asyncio.SelectorEventLoop):
    """A loop whose connections to some ports of this machine lead to others."""

    def __init__(self, ways: Mapping[int, int]) -> None:
        super().__init__()
        self._ways = ways

    async def create_connection(  # type: ignore[override]
        self, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        return await super().create_connection(factory, host, self._ways.get(port, port), **options)


async def main(plan: dict[str, Any]) -> None:
    """Speak and hear until killed."""
    from posthorn_bus import open_bus
    from posthorn_model.events import Topic
    from posthorn_storage.database import Database
    from posthorn_storage.nodes import NodeStore
    from posthorn_testkit.contracts.fleet import FAILURE_AFTER

    identity = _unpacked(plan["identity"])
    database = await Database.open(plan["dsn"])
    peers = NodeStore(database, failure_after=FAILURE_AFTER).peer_directory(identity.boot)
    bus = open_bus(_unpacked(plan["settings"]), identity, peers)
    subscription = bus.subscribe(*Topic)
    await bus.start()

    async def hear() -> None:
        async for event in subscription:
            _say(heard=_packed(event))

    hearing = asyncio.create_task(hear())
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        if "publish" in order:
            for event in _unpacked(order["publish"]):
                bus.publish(event)
        else:
            health = bus.health()
            names = ("connected", "published", "received", "skipped", "dropped", "gaps")
            _say(health={name: getattr(health, name) for name in names})
    hearing.cancel()


if __name__ == "__main__":
    told = json.loads(sys.stdin.readline())
    if told["schema"]:
        _speak_version(Path(told["schema"]))
    with asyncio.Runner(loop_factory=lambda: _Detour({int(k): v for k, v in told["ways"].items()})) as runner:
        runner.run(main(told))
