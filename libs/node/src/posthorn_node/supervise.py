"""Keeps child processes running: starts them, passes their output on, restarts the dead, stops them in order.

Children die with this process, also when it is killed. What they are and when they are healthy is not known here.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from posthorn_node.backoff import Backoff
from posthorn_node.parent import PARENT_VARIABLE, die_with_parent

MAX_LINE_BYTES = 64 * 1024
STEADY_SECONDS = 30.0
"""A child that lived so long begins again with the shortest pause when it dies."""
State = Literal["starting", "running", "waiting", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `environ` is the whole environment of the child."""

    name: str
    argv: tuple[str, ...]
    environ: Mapping[str, str]
    cwd: Path | None = None
    user: tuple[int, int] | None = None
    """User and group id to change to (only as root)."""
    stop_signal: int = signal.SIGTERM
    stop_limit: float = 45.0
    """Seconds from the stop signal to SIGKILL."""
    death_signal: int = signal.SIGKILL
    """What the child gets when this process dies."""
    restart: bool = True
    hopeless: frozenset[int] = frozenset({2})
    """Exit codes after which a restart cannot help: wrong settings or arguments."""
    leaves: bool = False
    """Exit code 0 says that it was asked to leave, by whomever: it is not started again."""
    pass_fds: tuple[int, ...] = ()
    """Descriptors that the child has too, under the same numbers."""
    own_output: bool = False
    """It writes where this process writes; nothing of it is passed to the sink."""


@dataclass(slots=True)
class Child:
    """A command and what has become of it."""

    command: Command
    state: State = "starting"
    pid: int | None = None
    exit_code: int | None = None
    """Of its last life; negative: the signal that ended it."""
    restarts: int = 0
    _process: asyncio.subprocess.Process | None = None
    _task: asyncio.Task[None] | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)


Sink = Callable[[str, bytes], None]
"""Takes a child's name and one line of its output, without its end."""
Watcher = Callable[[Child], None]
"""Hears of every change of a child's state."""


class Supervisor:
    """The children of one process."""

    def __init__(
        self,
        sink: Sink,
        *,
        changed: Watcher = lambda _child: None,
        first_pause: float = 0.2,
        longest_pause: float = 15.0,
    ) -> None:
        self._sink = sink
        self._changed = changed
        self._pauses = (first_pause, longest_pause)
        self.children: dict[str, Child] = {}
        """By name, in the order they were started."""

    async def start(self, command: Command) -> Child:
        """Start a child and keep it running; returns when its first process exists. Raises OSError, ValueError."""
        known = self.children.get(command.name)
        if known is not None and known.state not in ("stopped", "failed"):
            raise ValueError(f"{command.name} is running already")
        child = Child(command)
        await self._spawn(child)
        self.children.pop(command.name, None)
        self.children[command.name] = child
        child._task = asyncio.create_task(self._keep(child), name=f"supervise {command.name}")
        return child

    async def stop(self, *names: str) -> None:
        """Stop these children, all at once: stop signal, after its limit SIGKILL. Unknown names are ignored."""
        await asyncio.gather(*(self._stop(self.children[name]) for name in names if name in self.children))

    async def stop_all(self) -> None:
        """Stop all, one by one, the last started first."""
        for name in reversed(list(self.children)):
            await self.stop(name)

    def send(self, number: int) -> None:
        """A signal to all that run."""
        for child in self.children.values():
            self._signal(child, number)

    def kill_all(self) -> None:
        """SIGKILL to all at once, for an end that must not wait."""
        for child in self.children.values():
            child._stopping.set()
            _kill_group(child)

    async def _spawn(self, child: Child) -> None:
        command = child.command
        parent = os.getpid()

        def between_fork_and_exec() -> None:
            if command.user is not None:
                uid, gid = command.user
                os.setgroups([])
                os.setgid(gid)
                os.setuid(uid)
            die_with_parent(parent, command.death_signal)

        child._process = await asyncio.create_subprocess_exec(
            *command.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=None if command.own_output else asyncio.subprocess.PIPE,
            stderr=None if command.own_output else asyncio.subprocess.STDOUT,
            env={**command.environ, PARENT_VARIABLE: str(parent)},
            cwd=command.cwd,
            # A session of its own: Ctrl-C on the terminal reaches this process only, which stops all in order.
            start_new_session=True,
            preexec_fn=between_fork_and_exec,
            pass_fds=command.pass_fds,
        )
        child.pid = child._process.pid
        child.exit_code = None
        self._become(child, "running")
        if child._stopping.is_set():  # asked while the process was being made
            self._signal(child, command.stop_signal)

    async def _keep(self, child: Child) -> None:
        """Wait for the end of each life and begin the next, until told to stop."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(*self._pauses)
        while True:
            began = loop.time()
            if child._process is not None:
                child.exit_code = await self._lived(child, child._process)
                child._process = child.pid = None
            if child._stopping.is_set() or (child.command.leaves and child.exit_code == 0):
                return self._become(child, "stopped")
            if not child.command.restart or child.exit_code in child.command.hopeless:
                return self._become(child, "failed")
            if loop.time() - began > STEADY_SECONDS:
                backoff.reset()
            self._become(child, "waiting")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child._stopping.wait(), backoff.next())
            if child._stopping.is_set():
                return self._become(child, "stopped")
            child.restarts += 1
            try:
                await self._spawn(child)
            except OSError as error:
                self._sink(child.command.name, f"cannot start: {error}".encode())

    async def _lived(self, child: Child, process: asyncio.subprocess.Process) -> int:
        output = asyncio.create_task(self._pass_on(child.command.name, process))
        code = await process.wait()
        # What the child left behind in its session goes too, and may hold the pipe open until it does.
        _kill_group(child)
        await asyncio.wait({output}, timeout=1.0)
        output.cancel()
        return code

    async def _pass_on(self, name: str, process: asyncio.subprocess.Process) -> None:
        """Lines to the sink; a line too long is cut in pieces."""
        if process.stdout is None:
            return
        rest = b""
        while data := await process.stdout.read(MAX_LINE_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._say(name, line.removesuffix(b"\r"))
            whole = len(rest) - len(rest) % MAX_LINE_BYTES
            self._say(name, rest[:whole], empty=False)
            rest = rest[whole:]
        self._say(name, rest, empty=False)

    def _say(self, name: str, line: bytes, *, empty: bool = True) -> None:
        """One line to the sink, in pieces when it is too long; an empty one only where `empty`."""
        for start in range(0, len(line), MAX_LINE_BYTES) if line else [0] * empty:
            self._sink(name, line[start : start + MAX_LINE_BYTES])

    async def _stop(self, child: Child) -> None:
        child._stopping.set()
        if child._task is None or child._task.done():
            return
        self._signal(child, child.command.stop_signal)
        done, _ = await asyncio.wait({child._task}, timeout=child.command.stop_limit)
        if not done:
            self._sink(child.command.name, f"did not stop within {child.command.stop_limit:g} s: killed".encode())
            _kill_group(child)
            await child._task

    def _signal(self, child: Child, number: int) -> None:
        if child._process is not None:
            with contextlib.suppress(ProcessLookupError):
                child._process.send_signal(number)

    def _become(self, child: Child, state: State) -> None:
        child.state = state
        self._changed(child)


def _kill_group(child: Child) -> None:
    """SIGKILL to a child and all of its session's first group; those that are gone are no error."""
    if child.pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
