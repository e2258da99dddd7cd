"""An event loop without a selector, on a clock that only moves when nothing is left to do at its time.

It runs asyncio's own tasks, futures, events and timeouts, and knows of processes: a process that is stopped runs
nothing until it goes on, and then finds everything waiting that came meanwhile, as after SIGSTOP; of a dead one nothing
runs again.
"""

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

RESOLUTION = 1e-6
"""Seconds: no timer is nearer, so that time goes on."""


class Machine:
    """What runs and stops as one: a process of the simulation."""

    __slots__ = ("dead", "loop", "stopped", "waiting")

    def __init__(self, loop: "VirtualLoop") -> None:
        self.loop = loop
        self.stopped = False
        self.dead = False
        self.waiting: list[Step] = []

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
        """Run a coroutine as part of this process, and all that it starts."""
        context = contextvars.Context()
        context.run(_MACHINE.set, self)
        return context.run(self.loop.create_task, work, name=name)

    def stop(self) -> None:
        """SIGSTOP."""
        self.stopped = True

    def go_on(self) -> None:
        """SIGCONT."""
        self.stopped = False
        self.loop.ready.extend(self.waiting)
        self.waiting.clear()

    def kill(self) -> None:
        """SIGKILL."""
        self.dead = True
        self.waiting.clear()


_MACHINE: contextvars.ContextVar[Machine | None] = contextvars.ContextVar("machine", default=None)


class Step:
    """A callback that is to run, or was cancelled; the loop's handle."""

    __slots__ = ("_args", "_callback", "_cancelled", "_context", "_when", "machine")

    def __init__(self, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: Any) -> None:
        self._when = when
        self._callback = callback
        self._args = args
        self._context = context if context is not None else contextvars.copy_context()
        self._cancelled = False
        self.machine: Machine | None = self._context.get(_MACHINE)

    def cancel(self) -> None:
        self._cancelled = True

    def cancelled(self) -> bool:
        return self._cancelled

    def when(self) -> float:
        return self._when

    def run(self) -> None:
        if not self._cancelled:
            self._context.run(self._callback, *self._args)


class VirtualLoop(asyncio.AbstractEventLoop):
    """See the module. `run_until` moves it; errors that nobody waited for are kept in `errors`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ready: deque[Step] = deque()
        self.steps = 0
        self.errors: list[str] = []
        self._timers: list[tuple[float, int, Step]] = []
        self._number = 0

    def run_until(self, end: float) -> None:
        """Run everything that is due before the time `end`, in the order of its time, then of its making."""
        asyncio._set_running_loop(self)
        try:
            while True:
                while self.ready:
                    self._run(self.ready.popleft())
                if not self._timers or self._timers[0][0] > end:
                    break
                when, _, step = heapq.heappop(self._timers)
                if not step.cancelled():
                    self.now = when
                    self._run(step)
            self.now = end
        finally:
            asyncio._set_running_loop(None)

    def _run(self, step: Step) -> None:
        machine = step.machine
        if machine is not None:
            if machine.dead:
                return
            if machine.stopped:
                machine.waiting.append(step)
                return
        self.steps += 1
        step.run()

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        step = Step(self.now, callback, args, context)
        self.ready.append(step)
        return step

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        when = max(when, self.now + RESOLUTION)
        step = Step(when, callback, args, context)
        self._number += 1
        heapq.heappush(self._timers, (when, self._number, step))
        return step

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> "asyncio.Task[Any]":
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        # Those of a dead process are never finished.
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: Any) -> None:
        self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")


class MachineClock:
    """The clock of one process: it began to count at another moment than the others, and runs a little fast or slow."""

    def __init__(self, loop: VirtualLoop, *, ahead: float, rate: float) -> None:
        self._loop = loop
        self._ahead = ahead
        self._rate = rate

    def monotonic(self) -> float:
        return self._ahead + self._loop.now * self._rate

    def time(self) -> float:
        return 1.7e9 + self.monotonic()
