"""Is this process alive and is it ready: its state, and real probes of what it needs, each with a time limit."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from posthorn_model.errors import PosthornError
from posthorn_model.ports import Clock, Probe

State = Literal["starting", "ready", "draining"]


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one probe found. `detail` is text for people, `fields` for the log alone; it took `seconds`."""

    ok: bool
    detail: str
    seconds: float
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What /health/ready answers."""

    state: State
    probes: Mapping[str, ProbeResult]

    @property
    def ready(self) -> bool:
        return self.state == "ready" and all(result.ok for result in self.probes.values())

    def as_json(self) -> dict[str, Any]:
        probes = {
            name: {"ok": result.ok, "detail": result.detail, "ms": round(result.seconds * 1000, 1)}
            for name, result in self.probes.items()
        }
        return {"ready": self.ready, "state": self.state, "probes": probes}


@dataclass(slots=True)
class Health:
    """State and probes of one process. Answers are kept for `fresh` seconds: asking often costs nothing."""

    clock: Clock
    limit: float = 2.0
    """Seconds a probe may take."""
    fresh: float = 0.5
    state: State = "starting"
    changed: Callable[[str, ProbeResult], None] = lambda _name, _result: None
    """Hears of each probe that begins to fail or is fine again."""
    _probes: dict[str, tuple[Probe, float]] = field(default_factory=dict)
    _waits: dict[str, str] = field(default_factory=dict)
    _running: asyncio.Task[Mapping[str, ProbeResult]] | None = None
    _results: Mapping[str, ProbeResult] = field(default_factory=dict)
    _taken: float | None = None

    def add(self, name: str, probe: Probe, *, limit: float | None = None) -> None:
        """Run `probe` for every fresh answer; it may take `limit` seconds (default: the process's)."""
        self._probes[name] = (probe, self.limit if limit is None else limit)
        self._taken = None

    def remove(self, name: str) -> None:
        self._probes.pop(name, None)
        self._taken = None

    def waiting(self, name: str, reason: str | None) -> None:
        """Note that the start waits for something, and why; None: it is there."""
        if reason is None:
            self._waits.pop(name, None)
        else:
            self._waits[name] = reason

    async def report(self) -> Report:
        """The state, and the results of all probes, run together; concurrent callers share one run."""
        now = self.clock.monotonic()
        if self._taken is None or now - self._taken >= self.fresh:
            if self._running is None or self._running.done():
                self._running = asyncio.create_task(self._run(), name="health probes")
            self._results = await asyncio.shield(self._running)
        waits = {name: ProbeResult(False, reason, 0.0) for name, reason in self._waits.items()}
        return Report(self.state, {**self._results, **waits})

    async def _run(self) -> Mapping[str, ProbeResult]:
        probes = list(self._probes.items())
        results = await asyncio.gather(*(self._probed(probe, limit) for _, (probe, limit) in probes))
        self._taken = self.clock.monotonic()
        found = dict(zip((name for name, _ in probes), results, strict=True))
        for name, result in found.items():
            before = self._results.get(name)
            if result.ok != (before is None or before.ok):
                self.changed(name, result)
        return found

    async def _probed(self, probe: Probe, limit: float) -> ProbeResult:
        """One probe. asyncio.wait and not wait_for: a probe that ignores its cancellation must not hold the answer."""
        started = self.clock.monotonic()
        task = asyncio.ensure_future(probe())
        try:
            done, _ = await asyncio.wait({task}, timeout=limit)
        finally:
            if not task.done():
                task.cancel()
        seconds = self.clock.monotonic() - started
        if not done:
            task.add_done_callback(_forget)
            return ProbeResult(False, f"no answer within {limit:g} s", seconds)
        error = task.exception() if not task.cancelled() else asyncio.CancelledError()
        if error is None:
            return ProbeResult(True, task.result(), seconds)
        # Only domain errors have a text that is meant to be shown.
        if isinstance(error, PosthornError):
            return ProbeResult(False, error.public, seconds, error.fields)
        return ProbeResult(False, type(error).__name__, seconds, {"cause": repr(error)})


def _forget(task: "asyncio.Future[str]") -> None:
    """Take a late probe's outcome, so that asyncio does not report it as never retrieved."""
    if not task.cancelled():
        task.exception()
