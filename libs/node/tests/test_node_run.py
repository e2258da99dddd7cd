"""A service's process from outside: real processes, real signals, real exit codes."""

import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from posthorn_node.listen import open_sockets

SAMPLE = Path(__file__).with_name("node_sample_service.py")
PATIENCE = 60
"""Seconds until a test gives up; nothing is expected to take nearly as long."""


class Running:
    """A process of the sample service, its log lines and what it wrote on standard error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []

    async def event(self, name: str) -> dict[str, Any]:
        """The next log line with this event."""
        async with asyncio.timeout(PATIENCE):
            while True:
                assert self.process.stdout is not None
                line = await self.process.stdout.readline()
                assert line, f"ended before {name!r}: {self.events}"
                self.events.append(json.loads(line))
                if self.events[-1]["event"] == name:
                    return self.events[-1]

    async def ended(self) -> tuple[int, list[str], str]:
        """Exit code, the names of all events, standard error."""
        async with asyncio.timeout(PATIENCE):
            out, errors = await self.process.communicate()
        self.events += [json.loads(line) for line in out.splitlines()]
        assert self.process.returncode is not None
        return self.process.returncode, [event["event"] for event in self.events], errors.decode()

    async def ready(self) -> tuple[int, dict[str, Any]]:
        """What /health/ready answers."""
        address = next(event["address"] for event in self.events if event["event"] == "answering health checks")
        return await asyncio.to_thread(get, f"http://{address}/health/ready")


def get(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


Start = Callable[..., Any]


@pytest_asyncio.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """`await start("mode", "extra TOML", *arguments)`: a running sample service with a free port for its health."""
    started: list[Running] = []

    async def begin(mode: str, extra: str = "", *arguments: str, config: bool = True, delay: str = "0s") -> Running:
        path = tmp_path / "node.toml"
        data = tmp_path / "data"
        path.write_text(
            f'[server]\ndata = "{data}"\n{extra}\n[metrics]\nbind = "127.0.0.1:0"\n[imap]\nmode = "{mode}"\n'
        )
        given = ("--config", str(path)) if config else ()
        environ = {name: value for name, value in os.environ.items() if not name.startswith("POSTHORN_")}
        environ["POSTHORN__SERVER__DRAIN_DELAY"] = delay
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(SAMPLE),
            *given,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environ,
        )
        started.append(Running(process))
        return started[-1]

    yield begin
    for running in started:
        if running.process.returncode is None:
            running.process.kill()
            await running.process.communicate()


async def test_signal_drains_then_stops_then_ends_with_zero(start: Start) -> None:
    service = await start("plain")
    await service.event("ready")
    assert (await service.ready())[0] == 200
    service.process.send_signal(signal.SIGTERM)
    code, events, errors = await service.ended()
    assert code == 0
    assert events == [
        "answering health checks",
        "starting",
        "start called",
        "ready",
        "ending",
        "drain called",
        "stop called",
        "background ended",
        "stopped",
    ]
    assert errors == ""
    assert {(event["service"], event["node"]) for event in service.events} == {("imap", "auto")}
    assert next(event for event in service.events if event["event"] == "start called")["loop"] == "uvloop"


async def test_draining_process_is_not_ready_and_a_second_signal_hurries_it(start: Start) -> None:
    service = await start("endless-drain")
    await service.event("ready")
    service.process.send_signal(signal.SIGINT)
    await service.event("drain called")
    status, answer = await service.ready()
    assert (status, answer["state"], answer["ready"]) == (503, "draining", False)
    service.process.send_signal(signal.SIGTERM)
    cut = await service.event("cut short")
    assert (cut["step"], cut["reason"]) == ("drain", "a second signal")
    code, events, _ = await service.ended()
    assert code == 0
    assert events[-3:] == ["stop called", "background ended", "stopped"]


async def test_who_asks_for_its_health_has_time_to_notice_that_it_leaves(start: Start) -> None:
    service = await start("plain", delay="1h")
    await service.event("ready")
    service.process.send_signal(signal.SIGTERM)
    assert (await service.event("unready, still open"))["seconds"] == 3600
    status, answer = await service.ready()
    assert (status, answer["state"]) == (503, "draining")
    assert "drain called" not in [event["event"] for event in service.events]
    service.process.send_signal(signal.SIGTERM)
    code, events, _ = await service.ended()
    assert code == 0
    assert events.index("hurrying") < events.index("stop called") < events.index("stopped")


async def test_a_crash_does_not_wait_for_balancers(start: Start) -> None:
    service = await start("crashing-task", delay="1h")
    code, events, _ = await service.ended()
    assert code == 1
    assert "unready, still open" not in events


async def test_drain_ends_at_its_limit(start: Start) -> None:
    service = await start("endless-drain", 'drain-limit = "200ms"')
    await service.event("ready")
    service.process.send_signal(signal.SIGTERM)
    cut = await service.event("cut short")
    assert (cut["step"], cut["reason"]) == ("drain", "the limit of 0.2 s")
    code, events, _ = await service.ended()
    assert (code, events[-1]) == (0, "stopped")


async def test_thread_that_never_ends_cannot_keep_the_process(start: Start) -> None:
    service = await start("stuck-stop", 'stop-limit = "200ms"')
    await service.event("ready")
    service.process.send_signal(signal.SIGTERM)
    await service.event("stopped")
    service.process.send_signal(signal.SIGTERM)  # it does not change how the process ended
    code, _, errors = await service.ended()
    assert code == 0
    assert "cut off: something did not end" in errors


async def test_crashed_task_ends_the_process_in_order(start: Start) -> None:
    service = await start("crashing-task")
    code, events, _ = await service.ended()
    assert code == 1
    assert events.index("task crashed") < events.index("stop called") < events.index("stopped")
    crash = next(event for event in service.events if event["event"] == "task crashed")
    assert crash["task"] == "background"
    assert "RuntimeError: task broke" in crash["exception"]


async def test_failing_start_still_stops_what_was_built(start: Start) -> None:
    service = await start("failing-start")
    code, events, _ = await service.ended()
    assert code == 1
    assert "drain called" not in events
    assert events.index("start failed") < events.index("stop called")


async def test_waiting_for_the_database_is_alive_not_ready_and_can_be_ended(start: Start) -> None:
    service = await start("no-database")
    warning = await service.event("not available yet")
    assert (warning["part"], warning["reason"]) == ("database", "the database does not answer")
    status, answer = await service.ready()
    assert (status, answer["state"]) == (503, "starting")
    assert answer["probes"]["database"]["detail"] == "waiting: the database does not answer"
    service.process.send_signal(signal.SIGTERM)
    code, events, _ = await service.ended()
    assert code == 0
    assert "stop called" not in events


async def test_taken_port_is_told_and_has_its_exit_code(start: Start, tmp_path: Path) -> None:
    with open_sockets("127.0.0.1:0")[0] as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        service = await start("plain", f'[metrics.binds]\nimap = "{bind}"')
        code, events, errors = await service.ended()
    assert code == 3
    assert f"posthorn-imap: cannot listen on {bind}: the port is taken by another process" in errors
    assert "Traceback" not in errors
    assert "ready" not in events


async def test_certificate_that_cannot_be_read_is_told(start: Start) -> None:
    service = await start("tls", '[server.tls]\ncertificate = "/none/c.pem"\nprivate-key = "/none/k.pem"')
    code, events, errors = await service.ended()
    assert code == 3
    assert "cannot read /none/c.pem: No such file or directory" in errors
    assert "Traceback" not in errors
    assert events[-3:] == ["background ended", "cannot start", "stopped"]


async def test_certificate_is_read_again_on_request(start: Start) -> None:
    service = await start("tls")
    await service.event("ready")
    service.process.send_signal(signal.SIGHUP)
    await service.event("certificates read again")
    service.process.send_signal(signal.SIGTERM)
    assert (await service.ended())[0] == 0


async def test_wrong_settings_end_with_two_and_one_line_each(start: Start) -> None:
    service = await start("fast", '[cluster]\nnod-id = 1\nsecret = ["s3cr3t"]')
    code, events, errors = await service.ended()
    assert code == 2
    assert events == []
    lines = errors.splitlines()
    assert lines[0] == "posthorn-imap: 3 problem(s) in the settings"
    assert "node.toml:4: cluster.nod-id: is not a known key (did you mean node-id?)" in lines[1]
    assert "node.toml:5: cluster.secret: " in lines[2]
    assert "node.toml:9: imap.mode: should be 'plain', " in lines[3]
    assert len(lines) == 4
    assert "s3cr3t" not in errors


async def test_no_settings_at_all(start: Start) -> None:
    code, _, errors = await (await start("plain", config=False)).ended()
    assert code == 2
    assert errors == "posthorn-imap: say --config PATH or set POSTHORN_CONFIG\n"


async def test_checking_settings_shows_them_and_runs_nothing(start: Start) -> None:
    service = await start("plain", '[cluster]\nsecret = "s3cr3t"', "--check-config")
    async with asyncio.timeout(PATIENCE):
        out, errors = await service.process.communicate()
    assert service.process.returncode == 0, errors
    lines = out.decode().splitlines()
    assert 'cluster.secret = "********"' in lines
    assert 'imap.mode = "plain"' in lines
    assert "s3cr3t" not in out.decode()


async def end_of(pid: int) -> None:
    """Wait until a process, of whomever, has ended."""
    descriptor = os.pidfd_open(pid)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, ended.set)
    try:
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a parent's death")
async def test_killed_supervisor_leaves_nothing_running(start: Start) -> None:
    supervisor = await start("endless-drain", "", "--parent")
    child = (await supervisor.event("starting"))["pid"]
    await supervisor.event("ready")
    assert child != supervisor.process.pid
    end = asyncio.create_task(end_of(child))
    os.kill(child, 0)
    supervisor.process.kill()
    await end
