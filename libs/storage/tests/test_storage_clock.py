"""The database's clock in a process whose own is wrong, or is set while it runs."""

import asyncio
import time

import pytest
import structlog
from structlog.testing import capture_logs

from posthorn_model.clock import SystemClock
from posthorn_storage import Storage
from posthorn_storage.clock import DatabaseClock

pytestmark = pytest.mark.postgres
HOUR = 3600.0


class Wrong(SystemClock):
    """A wall clock that is off by so many seconds."""

    def __init__(self, ahead: float) -> None:
        self.ahead = ahead

    def time(self) -> float:
        return super().time() + self.ahead


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
async def test_a_clock_an_hour_off_tells_the_databases_time(storage: Storage, ahead: float) -> None:
    own = Wrong(ahead)
    clock = DatabaseClock(storage._database, own)
    assert clock.time() == pytest.approx(time.time() + ahead, abs=60)
    await clock.measure()
    assert clock.time() == pytest.approx(time.time(), abs=60)
    assert clock.offset == pytest.approx(ahead, abs=60)
    own.ahead = 5 * HOUR
    assert clock.time() == pytest.approx(time.time(), abs=60), "set while the process runs"
    assert clock.monotonic() == pytest.approx(time.monotonic(), abs=60)


async def test_the_log_tells_once_that_a_clock_is_off(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthorn_storage.clock.INTERVAL", 0.01)
    own = Wrong(-HOUR)
    clock = DatabaseClock(storage._database, own)
    measured = 0
    measure = clock.measure

    async def counted() -> None:
        nonlocal measured
        await measure()
        measured += 1

    monkeypatch.setattr(clock, "measure", counted)
    with capture_logs() as logs:
        keeping = asyncio.create_task(clock.keep(structlog.get_logger()))
        async with asyncio.timeout(30):
            while measured < 3:  # noqa: ASYNC110 - the loop under test is its own
                await asyncio.sleep(0.01)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    (line,) = logs
    assert line["event"] == "this machine's clock differs from the database's"
    assert line["seconds"] == pytest.approx(-HOUR, abs=60)
