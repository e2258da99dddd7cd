"""`posthorn plan`: the guide's figures, arithmetic over what was measured, bounds, and what it prints."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from posthorn_ctl.__main__ import app
from posthorn_ctl.plan import guide, report
from posthorn_ctl.plan.measured import SERVICES, Measured, measured
from posthorn_ctl.plan.sizing import BUSY, DATABASE_CORES, Load, plan

COSTS = Measured(
    date="2026-01-01", machine="one", smtp_in=7.2, smtp_out=3.6, maintenance=3.6, imap=7.2, jmap=3.6, dav=3.6,
    postgres=3.6, postgres_look=1.8, connection=50 << 10, process=100 << 20, message=10 << 10,
)  # fmt: skip
SMALL = Load(1_000, 500, 1 << 30, 75 << 10, 0.3, 0.5)
LARGE = Load(1_000_000, 200_000, 1 << 30, 75 << 10, 0.5, 0.5)


@pytest.mark.parametrize(("peak", "instances"), [(0, 1), (1, 1), (6_666, 1), (6_667, 2), (50_000, 8), (1_000_000, 150)])
def test_the_formula_of_the_guide(peak: int, instances: int) -> None:
    assert guide.instances(peak) == instances


@pytest.mark.parametrize(
    ("users", "instances"),
    [
        (1, "1"),
        (999, "1"),
        (1_000, "1"),
        (9_999, "1"),
        (10_000, "3 to 5"),
        (50_000, "5 to 10"),
        (100_000, "10 or more"),
    ],
)
def test_the_matrix_of_the_guide(users: int, instances: int) -> None:
    assert guide.advice(users).instances == instances


def test_a_small_load_is_for_one_machine() -> None:
    found = plan(SMALL, COSTS)
    assert {need.processes for need in found.services.values()} == {1}
    assert (found.topology, found.nodes, found.coordinator, found.blob_store) == ("unified", 1, "peer-to-peer", "fs")
    assert (found.database.shards, found.database.replicas) == (1, 0)


def test_a_large_load_by_hand() -> None:
    found = plan(LARGE, COSTS)
    # 1,000,000 messages x 7.2 ms in an hour are 2 cores, and 2 cores used to 70 % are 2.86.
    assert found.services["smtp-in"].cores == pytest.approx(2.0)
    assert found.services["smtp-in"].processes == 3
    assert found.services["smtp-out"].cores == pytest.approx(0.5)
    # 100,000 connections, 12 looks each, 7.2 ms: 2.4 cores; but a process holds 8192 x 0.7 connections.
    assert found.services["imap"].cores == pytest.approx(2.4)
    assert found.services["imap"].processes == math.ceil(100_000 / (8192 * 0.7)) == 18
    assert found.services["imap"].memory == (164 << 20) + math.ceil(100_000 / 18) * (50 << 10)
    # 200,000 x 13,982 messages of 10 KiB are 26 TiB, in databases of 2 TiB.
    assert found.database.size == 200_000 * math.ceil((1 << 30) / (75 << 10)) * (10 << 10)
    assert found.database.shards == math.ceil(found.database.size / (2 << 40)) == 14
    assert found.database.cores == pytest.approx(1.0 + 0.6)
    assert (found.topology, found.coordinator, found.blob_store) == ("weighted", "peer-to-peer", "s3")
    assert found.nodes == sum(need.processes for need in found.services.values())
    assert found.database.connections == found.nodes * 20


def test_one_busy_service_makes_a_weighted_topology() -> None:
    found = plan(replace(LARGE, connections_per_user=0.01), replace(COSTS, smtp_in=72.0))
    assert found.services["smtp-in"].processes == math.ceil(20 / 0.7)
    assert found.topology == "weighted"


def test_services_of_like_size_get_nodes_of_their_own() -> None:
    found = plan(
        replace(LARGE, connections_per_user=0.1, sent_share=2.0), replace(COSTS, smtp_out=7.2, jmap=14.4, dav=14.4)
    )
    assert sorted(need.processes for need in found.services.values()) == [2, 3, 4, 6, 7, 7]
    assert (found.topology, found.nodes) == ("service-specific", 29)


def test_it_says_when_the_queue_needs_more_shards() -> None:
    few, many = plan(LARGE, COSTS), plan(replace(LARGE, sent_share=100.0), COSTS)
    assert not any("queue-shards" in line for line in few.assumptions)
    assert any("queue-shards" in line for line in many.assumptions)


@given(
    st.integers(0, 100_000_000),
    st.integers(1, 100_000_000),
    st.integers(1 << 20, 1 << 40),
    st.integers(1 << 10, 1 << 20),
    st.floats(0, 100),
    st.floats(0, 100),
)
def test_no_part_is_asked_for_more_than_it_can(
    peak: int, users: int, mailbox: int, message: int, share: float, connections: float
) -> None:
    found = plan(Load(peak, users, mailbox, message, share, connections), COSTS)
    for need in found.services.values():
        assert need.processes >= 1
        assert need.cores <= need.processes * BUSY * 1.000001
    assert found.database.cores <= found.database.shards * DATABASE_CORES * BUSY * 1.000001
    assert found.database.cores_each <= DATABASE_CORES
    assert found.nodes >= 1
    assert report.text(found)
    assert json.loads(json.dumps(report.value(found)))["measured"]["topology"]["nodes"] == found.nodes


def test_more_load_never_needs_less() -> None:
    counts = [
        sum(
            need.processes
            for need in plan(replace(LARGE, peak_per_hour=peak, users=peak // 4 + 1), COSTS).services.values()
        )
        for peak in range(0, 2_000_000, 50_000)
    ]
    assert counts == sorted(counts)


def test_the_figures_of_this_release_are_sound() -> None:
    found = measured()
    assert len(found.date) == 10
    assert found.machine
    for name in ("smtp_in", "smtp_out", "maintenance", "imap", "jmap", "dav", "postgres", "postgres_look"):
        assert 0.01 < getattr(found, name) < 1000
    assert 1 << 10 < found.connection < 1 << 20
    assert 1 << 10 < found.message < 1 << 20
    assert 10 << 20 < found.process < 1 << 30


def test_the_command_prints_a_table() -> None:
    done = CliRunner().invoke(app, ["plan", "--peak-per-hour", "50000", "--users", "20000"])
    assert done.exit_code == 0
    assert "instances      8 (peak / 10,000 x 1.5)" in done.output
    assert all(f"\n  {service} " in done.output for service in SERVICES)
    assert "It assumes" in done.output


def test_the_command_answers_as_json() -> None:
    arguments = ["plan", "--peak-per-hour", "50000", "--users", "20000", "--mailbox-size", "2GB", "--json"]
    found = json.loads(CliRunner().invoke(app, arguments).output)
    assert found["guide"]["instances"] == 8
    assert found["load"]["mailbox_size"] == 2 << 30
    assert set(found["measured"]["services"]) == set(SERVICES)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--peak-per-hour", "-1", "--users", "1"], "--peak-per-hour"),
        (["--peak-per-hour", "1", "--users", "0"], "--users"),
        (["--peak-per-hour", "1", "--users", "1000000000"], "--users"),
        (["--peak-per-hour", "1"], "--users"),
        (["--peak-per-hour", "1", "--users", "1", "--mailbox-size", "2TB"], "must be from"),
        (["--peak-per-hour", "1", "--users", "1", "--mailbox-size", "much"], "not a size"),
        (["--peak-per-hour", "1", "--users", "1", "--message-size", "1"], "must be from"),
        (["--peak-per-hour", "1", "--users", "1", "--mailbox-size", "1MB", "--message-size", "2MB"], "less than one"),
        (["--peak-per-hour", "1", "--users", "1", "--sent-share", "nan"], "--sent-share"),
    ],
)
def test_what_cannot_be_is_refused(arguments: list[str], reason: str) -> None:
    done = CliRunner().invoke(app, ["plan", *arguments])
    assert done.exit_code != 0
    assert reason in done.output + str(done.exception)
