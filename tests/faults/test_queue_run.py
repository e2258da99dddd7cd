"""The queue run in short; `make queue-run` has it as large as wished."""

import os
import secrets
from pathlib import Path

import pytest
from tests.faults.queue_run import Plan, play

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(600)]


async def test_a_kill_and_a_stop_lose_nothing_and_repeat_only_what_was_under_way(
    postgres_dsn: str, tmp_path: Path
) -> None:
    seed = int(os.environ.get("POSTHORN_TEST_SEED") or secrets.randbelow(1_000_000))
    plan = Plan(messages=400, sites=40, kills=1, stops=1, seed=seed, rate=80.0, lease=4.0, restarts=1)
    tally = await play(postgres_dsn, tmp_path, plan)
    print(f"POSTHORN_TEST_SEED={seed}\n{tally.table()}")
    assert tally.wrong() == []
    assert any(tally.take_overs.values()), "nothing was taken over"
