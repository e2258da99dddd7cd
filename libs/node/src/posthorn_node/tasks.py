"""Background tasks by name through one door, so that none is lost, none fails unseen and all end with the process."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from structlog.typing import FilteringBoundLogger

from posthorn_node.backoff import Backoff

Work = Coroutine[Any, Any, Any]


class Tasks:
    """The background tasks of one process. A task that raises fails the process, unless it restarts."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()
        self.failed = asyncio.Event()
        """Set when a task has crashed that was not to be restarted: the process must end."""

    def start(self, name: str, work: Work | Callable[[], Work], *, restart: bool = False) -> asyncio.Task[None]:
        """Run `work` in the background until it ends or the process stops.

        With `restart` a crash is logged and `work`, which must then be a function that makes the coroutine, is
        called again after a growing pause. Without it a crash is logged and fails the process.
        """
        if restart and not callable(work):
            raise TypeError("restart needs a function that makes the coroutine")
        runner = self._restarting(name, work) if restart and callable(work) else self._once(name, work)
        task = asyncio.create_task(runner, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if isinstance(work, Coroutine):  # cancelled before its first step it would stay open
            task.add_done_callback(lambda _: work.close())
        return task

    def names(self) -> list[str]:
        """The names of the tasks that run now."""
        return sorted(task.get_name() for task in self._tasks)

    async def stop(self, limit: float = 5.0) -> None:
        """Cancel all and wait at most `limit` seconds; those that do not end are named in the log."""
        current = asyncio.current_task()
        tasks = {task for task in self._tasks if task is not current}
        for task in tasks:
            task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=limit)
            for task in late:
                self._log.warning("task does not stop", task=task.get_name())

    async def _once(self, name: str, work: Work | Callable[[], Work]) -> None:
        try:
            await (work() if callable(work) else work)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 (the top of a task: whatever it is, the process must not go on as if well)
            self._log.exception("task crashed", task=name)
            self.failed.set()

    async def _restarting(self, name: str, work: Callable[[], Work]) -> None:
        backoff = Backoff(0.1, 30.0)
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                await work()
            except asyncio.CancelledError:
                raise
            except Exception:  # noqa: BLE001 (the top of a task)
                if loop.time() - started > 60:
                    backoff.reset()
                pause = backoff.next()
                self._log.exception("task crashed and will be restarted", task=name, seconds=round(pause, 2))
            else:
                return
            await asyncio.sleep(pause)
