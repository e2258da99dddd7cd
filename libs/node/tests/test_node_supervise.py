"""The supervisor over real processes: output, restarts with growing pauses, stopping in order."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from posthorn_node.supervise import MAX_LINE_BYTES, Child, Command, State, Supervisor

PATIENCE = 60


class Watched:
    """A supervisor with everything it has said, and a way to wait for it."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, bytes]] = []
        self.states: list[tuple[str, State]] = []
        self._news = asyncio.Event()
        self.supervisor = Supervisor(self._line, changed=self._state, first_pause=0.01, longest_pause=0.05)

    def _line(self, name: str, line: bytes) -> None:
        self.lines.append((name, line))
        self._news.set()

    def _state(self, child: Child) -> None:
        self.states.append((child.command.name, child.state))
        self._news.set()

    async def line(self, name: str, line: bytes, times: int = 1) -> None:
        await self._until(lambda: self.lines.count((name, line)) >= times)

    async def state(self, name: str, state: State, times: int = 1) -> None:
        await self._until(lambda: self.states.count((name, state)) >= times)

    async def _until(self, true: object) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():  # type: ignore[operator]
                self._news.clear()
                await self._news.wait()


@pytest_asyncio.fixture
async def watched() -> AsyncIterator[Watched]:
    found = Watched()
    yield found
    found.supervisor.kill_all()
    await found.supervisor.stop_all()


def python(name: str, code: str, **more: object) -> Command:
    return Command(name, (sys.executable, "-uc", code), dict(os.environ), **more)  # type: ignore[arg-type]


WAIT = "import signal; print('up'); signal.pause()"


async def test_output_is_passed_on_line_by_line(watched: Watched) -> None:
    long = MAX_LINE_BYTES + 5
    code = f"import sys; print('one\\r'); print('two', file=sys.stderr); print('x' * {long}); sys.stdout.write('rest')"
    await watched.supervisor.start(python("a", code, restart=False))
    await watched.state("a", "failed")
    assert watched.lines == [
        ("a", b"one"),
        ("a", b"two"),
        ("a", b"x" * MAX_LINE_BYTES),
        ("a", b"xxxxx"),
        ("a", b"rest"),
    ]


async def test_killed_child_is_started_again(watched: Watched) -> None:
    child = await watched.supervisor.start(python("a", WAIT))
    await watched.line("a", b"up")
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await watched.line("a", b"up", times=2)
    assert child.restarts == 1
    assert child.pid not in (None, first)
    assert watched.states[:3] == [("a", "running"), ("a", "waiting"), ("a", "running")]


async def test_child_that_keeps_dying_is_started_again_and_again(watched: Watched) -> None:
    child = await watched.supervisor.start(python("a", "import sys; print('tried'); sys.exit(5)"))
    await watched.state("a", "waiting", times=4)
    assert child.exit_code == 5
    assert child.restarts >= 3


async def test_hopeless_exit_code_is_not_tried_again(watched: Watched) -> None:
    child = await watched.supervisor.start(python("a", "raise SystemExit(2)"))
    await watched.state("a", "failed")
    assert (child.exit_code, child.restarts, child.pid) == (2, 0, None)


async def test_child_that_was_asked_to_leave_stays_away(watched: Watched) -> None:
    child = await watched.supervisor.start(python("a", "pass", leaves=True))
    await watched.state("a", "stopped")
    assert (child.exit_code, child.restarts, child.pid) == (0, 0, None)


async def test_program_that_is_missing_is_told_at_once(watched: Watched) -> None:
    with pytest.raises(FileNotFoundError):
        await watched.supervisor.start(Command("a", ("/no/such/program",), {}))
    assert watched.supervisor.children == {}


async def test_name_can_be_used_once_at_a_time(watched: Watched) -> None:
    await watched.supervisor.start(python("a", WAIT))
    with pytest.raises(ValueError, match="a is running already"):
        await watched.supervisor.start(python("a", WAIT))
    await watched.supervisor.stop("a", "unknown")
    await watched.supervisor.start(python("a", WAIT))
    assert list(watched.supervisor.children) == ["a"]


async def test_all_are_stopped_last_started_first(watched: Watched) -> None:
    for name in ("database", "broker", "service"):
        await watched.supervisor.start(python(name, WAIT))
    await watched.supervisor.stop_all()
    assert [name for name, state in watched.states if state == "stopped"] == ["service", "broker", "database"]
    codes = {name: child.exit_code for name, child in watched.supervisor.children.items()}
    assert codes == dict.fromkeys(("database", "broker", "service"), -signal.SIGTERM)


async def test_own_stop_signal_reaches_the_child(watched: Watched) -> None:
    code = "import signal, sys\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(7))\nprint('up')\nsignal.pause()"
    child = await watched.supervisor.start(python("a", code, stop_signal=signal.SIGINT))
    await watched.line("a", b"up")
    await watched.supervisor.stop("a")
    assert (child.state, child.exit_code) == ("stopped", 7)


async def test_child_that_does_not_stop_is_killed_with_all_it_started(watched: Watched) -> None:
    code = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(grandchild.pid)
while True:
    signal.pause()
"""
    child = await watched.supervisor.start(python("a", code, stop_limit=0.2))
    await watched._until(lambda: watched.lines)
    grandchild = os.pidfd_open(int(watched.lines[0][1]))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(grandchild, ended.set)
    await watched.supervisor.stop("a")
    async with asyncio.timeout(PATIENCE):
        await ended.wait()
    asyncio.get_running_loop().remove_reader(grandchild)
    os.close(grandchild)
    assert (child.state, child.exit_code) == ("stopped", -signal.SIGKILL)
    assert ("a", b"did not stop within 0.2 s: killed") in watched.lines


async def test_stop_during_the_pause_between_two_lives(watched: Watched) -> None:
    patient = Supervisor(watched._line, changed=watched._state, first_pause=3600, longest_pause=3600)
    child = await patient.start(python("a", "raise SystemExit(1)"))
    await watched.state("a", "waiting")
    async with asyncio.timeout(PATIENCE):
        await patient.stop("a")
    assert child.state == "stopped"


async def test_child_has_a_session_of_its_own_and_knows_its_parent(watched: Watched, tmp_path: Path) -> None:
    code = "import os; print(os.getsid(0) == os.getpid(), os.environ['POSTHORN_PARENT'], os.getcwd())"
    await watched.supervisor.start(python("a", code, restart=False, cwd=tmp_path))
    await watched.state("a", "failed")
    assert watched.lines == [("a", f"True {os.getpid()} {tmp_path}".encode())]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change to another user")
async def test_child_of_another_user_dies_with_its_parent_too(watched: Watched) -> None:
    code = """
import ctypes, os
number = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(number), 0, 0, 0)
print(os.getuid(), os.getgid(), os.getgroups(), number.value)
"""
    command = Command(
        "a", ("/usr/bin/env", "python3", "-c", code), dict(os.environ), user=(65534, 65534), restart=False
    )
    await watched.supervisor.start(command)
    await watched.state("a", "failed")
    assert watched.lines == [("a", f"65534 65534 [] {int(signal.SIGKILL)}".encode())]
