"""Several processes of one service: real processes that share a port, are killed, leave, and are asked as one."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from posthorn_node.asking import get
from posthorn_node.listen import open_sockets
from posthorn_node.merged import merged_health, merged_metrics
from posthorn_node.settings import NodeSettings, ServiceSettings, SettingsError, parse, processes_of, validate
from posthorn_node.settings.processes import processors

SAMPLE = Path(__file__).with_name("node_sample_service.py")
PATIENCE = 60
STORES = (
    '[store."postgres"]\ntype = "postgresql"\ndsn = "postgresql://p@h/d"\n'
    '[store."fs"]\ntype = "fs"\npath = "/blobs"\n[storage]\nblob = "fs"\n'
)


class Keeper:
    """The process that keeps a crew, and the log lines of all."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []

    async def event(self, name: str, times: int = 1) -> list[dict[str, Any]]:
        """The first so many log lines with this event, which may have come already."""
        async with asyncio.timeout(PATIENCE):
            while len(found := [each for each in self.events if each["event"] == name]) < times:
                assert self.process.stdout is not None
                line = await self.process.stdout.readline()
                assert line, f"ended before {name!r}: {self.events}"
                self.events.append(json.loads(line))
        return found[:times]

    async def ended(self) -> tuple[int, str]:
        async with asyncio.timeout(PATIENCE):
            out, errors = await self.process.communicate()
        self.events += [json.loads(line) for line in out.splitlines()]
        assert self.process.returncode is not None
        return self.process.returncode, errors.decode()

    @property
    def address(self) -> tuple[str, int]:
        host, port = next(each["addresses"][0] for each in self.events if each["event"] == "bound")
        return host, port

    @property
    def pids(self) -> dict[str, int]:
        """Of the crew, by name; the latest of each."""
        return {each["name"]: each["pid"] for each in self.events if each["event"] == "process started"}

    async def greeted(self) -> tuple[int, asyncio.StreamReader, asyncio.StreamWriter]:
        """A client: by which process it is served, and its connection."""
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(*self.address)
            return int(await reader.readline()), reader, writer

    async def ask(self, path: str) -> tuple[int, str]:
        host, _, port = next(
            each["address"] for each in self.events if each["event"] == "answering health checks"
        ).partition(":")
        status, body = await get(host, int(port), path, 30)
        return status, body.decode()


Start = Callable[..., Any]


@pytest_asyncio.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """`await start(count, "mode", "extra TOML")`: a crew of the sample service; the caller waits for what it needs."""
    started: list[Keeper] = []

    async def begin(count: int, mode: str = "plain", extra: str = "", bind: str = "127.0.0.1:0") -> Keeper:
        path = tmp_path / "node.toml"
        path.write_text(
            f'[server]\ndata = "{tmp_path / "data"}"\nprocesses = {count}\ndrain-delay = "0s"\n{extra}\n'
            f'[server.listener.imap]\nprotocol = "imap"\nbind = "{bind}"\n'
            f'[metrics]\nbind = "127.0.0.1:0"\n[imap]\nmode = "{mode}"\n'
        )
        environ = {name: value for name, value in os.environ.items() if not name.startswith("POSTHORN_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(SAMPLE), "--config", str(path),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environ,
        )  # fmt: skip
        started.append(Keeper(process))
        return started[-1]

    yield begin
    for keeper in started:
        if keeper.process.returncode is None:
            keeper.process.kill()
            await keeper.process.communicate()


async def test_all_serve_are_asked_as_one_and_hear_and_end_together(start: Start) -> None:
    keeper = await start(3, "tls")
    await keeper.event("ready", 3)
    served = set()
    clients = []
    while served != set(keeper.pids.values()):
        pid, *client = await keeper.greeted()
        served.add(pid)
        clients.append(client)
        assert len(clients) < 500, "some process gets no clients"
    assert len(served) == 3
    assert keeper.process.pid not in served
    await asked_as_one(keeper)
    keeper.process.send_signal(signal.SIGHUP)
    await keeper.event("certificates read again", 3)
    keeper.process.send_signal(signal.SIGTERM)
    assert await keeper.ended() == (0, "")
    events = [each["event"] for each in keeper.events]
    assert events.count("drain called") == events.count("stop called") == 3
    for reader, _ in clients:
        assert await reader.read() == b""


async def test_a_killed_process_loses_no_client_of_the_others_and_none_that_waits(start: Start) -> None:
    keeper = await start(2)
    await keeper.event("ready", 2)
    victim = keeper.pids["process 0"]
    clients = [await keeper.greeted() for _ in range(40)]
    # One that does not run cannot accept: what comes for it waits in its queue, and is there for who takes its place.
    os.kill(victim, signal.SIGSTOP)
    waiting = [asyncio.create_task(keeper.greeted()) for _ in range(40)]
    done, _ = await asyncio.wait(waiting, timeout=None, return_when=asyncio.FIRST_COMPLETED)
    assert done
    os.kill(victim, signal.SIGKILL)
    await keeper.event("process died, it is started again")
    await keeper.event("ready", 3)
    for pid, reader, writer in clients:
        writer.write(b"still there?\n")
        if pid == victim:
            with pytest.raises((ConnectionError, AssertionError)):
                assert await reader.readline() == b"still there?\n"
        else:
            assert await reader.readline() == b"still there?\n"
    heirs = set(keeper.pids.values())
    assert victim not in heirs
    assert {pid for pid, *_ in await asyncio.gather(*waiting)} == heirs
    keeper.process.send_signal(signal.SIGTERM)
    assert (await keeper.ended())[0] == 0


async def test_one_that_leaves_sends_its_clients_to_the_others(start: Start) -> None:
    keeper = await start(2)
    await keeper.event("ready", 2)
    leaver = keeper.pids["process 1"]
    os.kill(leaver, signal.SIGTERM)
    await keeper.event("process left, the others go on")
    assert {(await keeper.greeted())[0] for _ in range(30)} == {keeper.pids["process 0"]}
    status, body = await keeper.ask("/health/ready")
    assert (status, list(json.loads(body)["processes"])) == (200, ["0"])
    os.kill(keeper.pids["process 0"], signal.SIGTERM)
    assert (await keeper.ended())[0] == 0


async def asked_as_one(keeper: Keeper) -> None:
    status, body = await keeper.ask("/health/ready")
    report = json.loads(body)
    assert (status, report["ready"], report["state"], report["service"]) == (200, True, "ready", "imap")
    assert {each["state"] for each in report["processes"].values()} == {"ready"}
    assert (await keeper.ask("/health/live"))[0] == 200
    _, text = await keeper.ask("/metrics")
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert values['posthorn_processes_wanted{process="keeper"}'] == "3.0"
    assert {f'process_resident_memory_bytes{{process="{name}"}}' for name in "012"} <= values.keys()
    assert text.count("# TYPE process_resident_memory_bytes gauge\n") == 1


async def test_what_cannot_start_ends_with_its_reason(start: Start) -> None:
    keeper = await start(2, "tls", '[server.tls]\ncertificate = "/none/c.pem"\nprivate-key = "/none/k.pem"')
    code, errors = await keeper.ended()
    assert (code, "cannot read /none/c.pem" in errors) == (3, True)


async def test_a_port_that_somebody_has_is_refused_although_it_could_be_shared(start: Start) -> None:
    with open_sockets("127.0.0.1:0", reuse_port=True)[0] as taken:
        keeper = await start(2, bind=f"127.0.0.1:{taken.getsockname()[1]}")
        code, errors = await keeper.ended()
    assert (code, "the port is taken by another process" in errors) == (3, True)


def judged(text: str, **own: Any) -> int:
    settings = validate(parse((STORES + text).encode(), Path("node.toml"), {}), {"": NodeSettings})[""]
    return processes_of("imap", settings, ServiceSettings(**own))


def test_how_many_processes_a_service_has(tmp_path: Path) -> None:
    assert judged("") == 1
    assert judged("[server]\nprocesses = 3") == 3
    assert judged("[server]\nprocesses = 3", processes=2) == 2
    assert judged("", processes="auto") == processors()
    (quota := tmp_path / "cpu.max").write_text("50000 100000\n")
    assert processors(quota) == 1
    quota.write_text("max 100000\n")
    assert processors(quota) == processors(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[store."rocks"]\ntype = "rocksdb"\npath = "/r"\n[server]\nprocesses = 2', "one process alone can open"),
        ('[cluster]\npeer-bind = "0.0.0.0:7000"\n[server]\nprocesses = 2', "write port 0"),
        ("[server]\nprocesses = 0", "must be a number from 1 to 64"),
        ('[server]\nprocesses = "many"', "must be a number from 1 to 64"),
    ],
    ids=["rocksdb", "fixed peer port", "none", "a word"],
)
def test_what_allows_one_process_only_is_told(text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        judged(text)


def test_metrics_of_all_are_one_exposition() -> None:
    one = (
        '# HELP a_total Things\n# TYPE a_total counter\na_total{kind="x{y} z"} 1.0\n# HELP b B\n# TYPE b gauge\nb 2.0\n'
    )
    other = '# HELP a_total Things\n# TYPE a_total counter\na_total{kind="q"} 3.0\n'
    assert merged_metrics({"0": one, "1": other}) == (
        "# HELP a_total Things\n# TYPE a_total counter\n"
        'a_total{process="0",kind="x{y} z"} 1.0\na_total{process="1",kind="q"} 3.0\n'
        '# HELP b B\n# TYPE b gauge\nb{process="0"} 2.0\n'
    )


def test_health_of_all_is_as_good_as_the_best_and_names_the_worst() -> None:
    probe = {"ok": True, "detail": "fine", "ms": 1.0}
    good = json.dumps({"node": "1", "boot": "b", "ready": True, "state": "ready", "probes": {"database": probe}})
    bad = json.dumps(
        {"node": "1", "boot": "c", "ready": False, "state": "ready", "probes": {"database": {**probe, "ok": False}}}
    )
    found = merged_health("ready", {"0": good.encode(), "1": bad.encode(), "2": None, "3": b"{nonsense"})
    assert (found["ready"], found["state"], found["node"]) == (True, "ready", "1")
    assert found["probes"]["database"]["detail"] == "fine (process 1)"
    assert found["probes"]["process 2"]["detail"] == found["probes"]["process 3"]["detail"] == "does not answer"
    assert not merged_health("draining", {"0": good.encode()})["ready"]
    assert not merged_health("ready", {"0": bad.encode()})["ready"]
