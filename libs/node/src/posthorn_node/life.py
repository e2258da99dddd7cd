"""The life of a service's process, from its first probe answered to its exit code (flows: a node leaves).

Build and start, wait, drain, stop; a signal or the operator's wish ends the first two, a second signal hurries the
third, and each of the last two has its limit. Nothing here waits without a bound once it was asked to end.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from posthorn_model.errors import DuplicateNode
from posthorn_node.certificate_watch import CertificateWatch
from posthorn_node.errors import StartError
from posthorn_node.garbage import spare_what_stays
from posthorn_node.http import HttpServer
from posthorn_node.listen import open_sockets
from posthorn_node.node import EXIT_CRASHED, EXIT_SETTINGS, EXIT_START, Build, Node, Service
from posthorn_node.reread import Rereading
from posthorn_node.settings import SettingsError
from posthorn_node.vitals import open_vitals, shown_address

ENDING = (signal.SIGTERM, signal.SIGINT)
SPARE_SECONDS = 5.0
"""What the end may take beyond the limits of draining and stopping before the process is cut off."""


class Life:
    """Runs one service on one node; used once."""

    def __init__(self, node: Node, build: Build, rereading: Rereading) -> None:
        self._node = node
        self._build = build
        self._asked = asyncio.Event()
        self._hurried = asyncio.Event()
        self._service: Service | None = None
        self._certificates = CertificateWatch(node.tls, node.metrics, node.log, node.clock)
        self._rereading = rereading
        node.leave = self._ask

    async def run(self) -> int:
        """Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in ENDING:
            loop.add_signal_handler(number, self._signalled, signal.Signals(number).name)
        loop.add_signal_handler(signal.SIGHUP, self._reread)
        loop.set_exception_handler(self._unhandled)
        vitals: HttpServer | None = None
        try:
            vitals = await self._open_vitals()
            code = await self._lived()
        except (StartError, DuplicateNode) as error:
            code = self._refused(str(error), EXIT_START)
        except SettingsError as error:
            code = self._refused(str(error), EXIT_SETTINGS)
        if vitals is not None:
            await vitals.stop()
        # Nothing is left to hurry: a signal while the interpreter ends would only spoil the exit code.
        for number in ENDING:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
        self._node.log.info("stopped", code=code)
        return code

    def leave(self, code: int) -> None:
        """Called when the loop is about to close: no thread left behind may keep the process from ending."""
        self._cut_off(SPARE_SECONDS, code)

    async def _open_vitals(self) -> HttpServer | None:
        metrics = self._node.settings.metrics
        if not metrics.enable:
            return None
        inherited = self._node.inherited
        own = inherited.vitals if inherited is not None else None
        sockets = [own] if own is not None else open_sockets(metrics.bind_for(self._node.service))
        server = await open_vitals(sockets, self._node.health, self._node.metrics, self._node.identity)
        shown = inherited.health if inherited is not None else shown_address(*server.addresses[0])
        self._node.address["health"] = shown
        self._node.log.info("answering health checks", address=shown)
        return server

    async def _lived(self) -> int:
        code = 0
        try:
            if await self._until_asked(self._started()):
                self._node.health.state = "ready"
                self._node.log.info("ready")
                if await self._until_asked(self._node.tasks.failed.wait()):
                    code = EXIT_CRASHED
        except (StartError, DuplicateNode, SettingsError):
            await self._end()
            raise
        except Exception:
            self._node.log.exception("start failed")
            code = EXIT_CRASHED
        limits = self._node.settings.server
        self._cut_off(limits.end_limit + SPARE_SECONDS, code)
        await self._end()
        return code

    async def _started(self) -> None:
        self._node.log.info("starting", pid=os.getpid())
        self._service = await self._build(self._node)
        await self._service.start()
        self._node.tasks.start("certificates", self._certificates.keep, restart=True)
        spare_what_stays()

    async def _end(self) -> None:
        """Drain, stop, end the background tasks: each bounded, none kept from its turn by the failure of another."""
        was_ready = self._node.health.state == "ready"
        self._node.health.state = "draining"
        self._node.draining()
        server = self._node.settings.server
        if self._service is not None:
            if was_ready:
                await self._let_balancers_notice()
                await self._bounded("drain", self._service.drain(), server.drain_limit, hurry=True)
            await self._bounded("stop", self._service.stop(), server.stop_limit)
        await self._node.tasks.stop()

    async def _let_balancers_notice(self) -> None:
        """Unready and still open: whoever asks for this node's health sends nobody any more when its listeners close.

        Only for who was asked to leave: a process that crashed cannot serve meanwhile.
        """
        delay = self._node.settings.server.drain_delay
        if delay and self._asked.is_set():
            self._node.log.info("unready, still open", seconds=delay)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._hurried.wait()

    async def _until_asked(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Whether `work` ended before a signal asked the process to end; then it is cancelled."""
        task = asyncio.ensure_future(work)
        asked = asyncio.ensure_future(self._asked.wait())
        await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if task.done():
            task.result()
            return True
        task.cancel()
        await asyncio.wait({task}, timeout=self._node.settings.server.stop_limit)
        return False

    async def _bounded(self, step: str, work: Coroutine[Any, Any, None], limit: float, *, hurry: bool = False) -> None:
        task = asyncio.ensure_future(work)
        waits: set[asyncio.Future[Any]] = {task}
        hurried = asyncio.ensure_future(self._hurried.wait())
        if hurry:
            waits.add(hurried)
        await asyncio.wait(waits, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            reason = "a second signal" if hurry and self._hurried.is_set() else f"the limit of {limit:g} s"
            self._node.log.warning("cut short", step=step, reason=reason)
            task.cancel()
            await asyncio.wait({task}, timeout=1.0)
        hurried.cancel()
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            self._node.log.error("failed while ending", step=step, exc_info=error)

    def _signalled(self, name: str) -> None:
        if self._asked.is_set():
            self._node.log.warning("hurrying", signal=name)
            self._hurried.set()
        else:
            self._ask(name)

    def _reread(self) -> None:
        """Certificates after the settings, which say in which files they are."""
        self._rereading.now()
        self._certificates.reload()

    def _ask(self, reason: str) -> None:
        if not self._asked.is_set():
            self._node.log.info("ending", reason=reason)
            self._asked.set()

    def _refused(self, reason: str, code: int) -> int:
        self._node.log.error("cannot start", reason=reason)
        print(f"posthorn-{self._node.service}: {reason}", file=sys.stderr)
        return code

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error nobody waited for: it belongs to one connection or callback, so the process goes on."""
        error = context.get("exception")
        self._node.log.error("unhandled error", message=context.get("message", ""), exc_info=error)

    def _cut_off(self, seconds: float, code: int) -> None:
        """End the process by force if it is still there after so long: threads and loops that ignore being asked."""

        def end() -> None:
            print(f"posthorn-{self._node.service}: cut off: something did not end", file=sys.stderr, flush=True)
            os._exit(code)

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
