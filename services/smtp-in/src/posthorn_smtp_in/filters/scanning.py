"""Asks scanners (filters that see a message once, when it is complete) side by side; a failure is an opinion too."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from posthorn_model.ports import Clock
from posthorn_node.stream.connection import ConnectionLost
from posthorn_smtp_in.figures import Figures
from posthorn_smtp_in.filters.changes import BadChange, Head, apply
from posthorn_smtp_in.filters.channels import Channels, FilterFailed
from posthorn_smtp_in.filters.opinions import Opinion, Result
from posthorn_smtp_in.filters.protocol.problems import BadAnswer
from posthorn_smtp_in.filters.settings import ScannerSettings
from posthorn_smtp_in.filters.specimen import Specimen


class Scanner(Protocol):
    """A filter that is asked once, at the end of a message."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> ScannerSettings: ...

    @property
    def channels(self) -> Channels: ...

    async def scan(self, specimen: Specimen) -> Opinion:
        """Its opinion. Raises FilterFailed, BadAnswer, BadChange, ConnectionLost, TimeoutError."""


async def scan_all(
    scanners: Sequence[Scanner], specimen: Specimen, *, figures: Figures, clock: Clock, log: FilteringBoundLogger
) -> list[Opinion]:
    """The opinion of each, in their order. Never raises for what a filter does."""

    async def one(scanner: Scanner) -> Opinion:
        started = clock.monotonic()
        opinion = await _scan(scanner, specimen)
        record(opinion, clock.monotonic() - started, figures=figures, log=log)
        return opinion

    return list(await asyncio.gather(*map(one, scanners)))


async def _scan(scanner: Scanner, specimen: Specimen) -> Opinion:
    settings = scanner.settings
    if specimen.size > settings.max_size:
        return Opinion(scanner.name, Result.SKIPPED, detail=f"larger than {settings.max_size} octets")
    try:
        async with asyncio.timeout(settings.timeouts.connect + settings.timeouts.answer):
            opinion = await scanner.scan(specimen)
        apply(Head((), b""), opinion.changes)  # what cannot be done must show while it can still be a failure
        return opinion
    except TimeoutError:
        reason = "no answer in time"
    except (FilterFailed, BadAnswer, BadChange, ConnectionLost) as error:
        reason = str(error)
    return failed(scanner.name, reason, settings.on_failure)


def failed(name: str, reason: str, on_failure: str) -> Opinion:
    """The opinion of a filter that has none because it failed."""
    return Opinion(name, Result.FAILED, detail=reason, closed=on_failure == "closed")


def record(opinion: Opinion, seconds: float, *, figures: Figures, log: FilteringBoundLogger) -> None:
    """An opinion for the log and the metrics."""
    figures.filters.labels(opinion.filter, opinion.result.value).inc()
    figures.filter_time.labels(opinion.filter).observe(seconds)
    tell = log.warning if opinion.result is Result.FAILED else log.info
    score = {} if opinion.score is None else {"score": round(opinion.score, 2)}
    tell("filtered", filter=opinion.filter, result=opinion.result.value, detail=opinion.detail, **score)
