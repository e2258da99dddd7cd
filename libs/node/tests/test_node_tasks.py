"""Background tasks and back-off."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_model.errors import NotPermitted, PosthornError, Unavailable
from posthorn_node.backoff import Backoff, until_available
from posthorn_node.logs import Identity, open_log
from posthorn_node.settings import LogSettings
from posthorn_node.tasks import Tasks


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


@pytest.fixture
def tasks(stream: io.StringIO) -> Tasks:
    return Tasks(open_log(LogSettings(), Identity("imap", "1", "b"), stream))


def events(stream: io.StringIO) -> list[str]:
    return [json.loads(line)["event"] for line in stream.getvalue().splitlines()]


async def for_ever() -> None:
    await asyncio.Event().wait()


async def break_down() -> None:
    raise RuntimeError("broken")


async def test_task_that_ends_is_forgotten(tasks: Tasks) -> None:
    done = asyncio.Event()

    async def short() -> None:
        done.set()

    task = tasks.start("short", short())
    assert tasks.names() == ["short"]
    await task
    assert done.is_set()
    assert tasks.names() == []
    assert not tasks.failed.is_set()


async def test_crash_is_logged_and_fails_the_process(tasks: Tasks, stream: io.StringIO) -> None:
    tasks.start("other", for_ever())
    await tasks.start("bad", break_down())
    assert tasks.failed.is_set()
    assert events(stream) == ["task crashed"]
    assert tasks.names() == ["other"]
    await tasks.stop()
    assert tasks.names() == []


async def test_restarting_task_comes_back_after_a_crash(tasks: Tasks, stream: io.StringIO) -> None:
    lives = 0
    again = asyncio.Event()

    async def shaky() -> None:
        nonlocal lives
        lives += 1
        if lives == 1:
            raise RuntimeError("broken")
        again.set()

    task = tasks.start("shaky", shaky, restart=True)
    await again.wait()
    await task
    assert lives == 2
    assert events(stream) == ["task crashed and will be restarted"]
    assert not tasks.failed.is_set()


async def test_restart_needs_a_function(tasks: Tasks) -> None:
    work = for_ever()
    with pytest.raises(TypeError, match="restart needs a function"):
        tasks.start("x", work, restart=True)
    work.close()


async def test_stop_before_the_first_step_leaves_no_open_coroutine(tasks: Tasks) -> None:
    work = for_ever()
    task = tasks.start("x", work)
    await tasks.stop()
    assert task.cancelled()
    assert work.cr_frame is None


async def test_task_that_ignores_its_end_is_named_and_not_waited_for(tasks: Tasks, stream: io.StringIO) -> None:
    release = asyncio.Event()
    running = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            running.set()
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    task = tasks.start("stubborn", stubborn())
    await running.wait()
    await tasks.stop(limit=0.01)
    assert not task.done()
    assert json.loads(stream.getvalue())["task"] == "stubborn"
    release.set()
    await task


@given(
    first=st.floats(0.001, 10),
    longer=st.floats(1, 1000),
    factor=st.floats(1, 5),
    jitter=st.floats(0, 1),
    count=st.integers(1, 40),
)
def test_pauses_grow_to_the_limit_and_stay_between_their_bounds(
    first: float, longer: float, factor: float, jitter: float, count: int
) -> None:
    limit = first * longer
    backoff = Backoff(first, limit, factor=factor, jitter=jitter, seed=1)
    full = first
    for _ in range(count):
        pause = backoff.next()
        assert full * (1 - jitter) <= pause <= full <= limit
        full = min(limit, full * factor)
    assert backoff.attempts == count
    backoff.reset()
    assert backoff.next() <= first


def test_pauses_of_different_processes_differ() -> None:
    assert len({Backoff(1.0, 10.0).next() for _ in range(20)}) > 1


@pytest.mark.parametrize("wrong", [{"first": 0}, {"first": 2, "limit": 1}, {"factor": 0.5}, {"jitter": 1.5}])
def test_back_off_that_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a back-off needs"):
        Backoff(**wrong)  # type: ignore[arg-type]


async def test_attempts_go_on_while_it_is_unavailable() -> None:
    heard: list[tuple[PosthornError, float]] = []

    async def attempt() -> str:
        if len(heard) < 3:
            raise Unavailable("down")
        return "open"

    backoff = Backoff(0.001, 0.002)
    assert await until_available(attempt, backoff=backoff, refused=lambda *told: heard.append(told)) == "open"
    assert [str(error) for error, _ in heard] == ["down"] * 3


async def test_lasting_refusal_ends_the_attempts() -> None:
    async def attempt() -> str:
        raise NotPermitted

    with pytest.raises(NotPermitted):
        await until_available(attempt, backoff=Backoff(), refused=lambda *_: pytest.fail("tried again"))
