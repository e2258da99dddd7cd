"""What waits in the outgoing queue outlives every kill and is sent by itself; only attempts under way may repeat."""

import asyncio
from collections.abc import Callable
from functools import partial

import asyncpg
import pytest
from tests.faults.couriers import SmtpCourier, Target
from tests.faults.ledger import Ledger
from tests.faults.load import Load
from tests.faults.nemesis import Nemesis
from tests.faults.outside import Outside

from posthorn_testkit.cluster import ClusterUnderTest, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
MESSAGES = 60
CONNECTIONS = 10
"""To one site at once: the default of smtp-out.connections-per-site."""


def recipient(cluster: ClusterUnderTest) -> Target:
    return Target(f"friend@{cluster.description['sink']['domain']}")


def waiting(cluster: ClusterUnderTest) -> int:
    """How many recipients are neither delivered nor given up."""

    async def asked() -> int:
        connection = await asyncpg.connect(cluster.description["postgres"]["dsn"])
        try:
            found: int = await connection.fetchval("SELECT count(*) FROM queue_recipient WHERE state IN (0, 1)")
            return found
        finally:
            await connection.close()

    return asyncio.run(asked())


@pytest.fixture
def courier(new_accounts: Callable[[int], list[Target]]) -> Callable[[ClusterUnderTest, Ledger], SmtpCourier]:
    """Submission by an account of this test's own."""
    return partial(SmtpCourier, login=new_accounts(1)[0])


def test_what_waits_outlives_the_kills_and_is_sent_once(
    cluster: ClusterUnderTest, nemesis: Nemesis, courier: Callable[[ClusterUnderTest, Ledger], SmtpCourier]
) -> None:
    """Nobody listens outside while things are killed, so nothing can be under way and nothing may repeat."""
    ledger = Ledger("waiting")
    with Load(cluster, ledger, [recipient(cluster)], MESSAGES, courier=courier):
        pass
    assert waiting(cluster) == MESSAGES
    nemesis.healed(*nemesis.kill("smtp-out"))
    nemesis.healed(*nemesis.kill("postgresql"))
    with Outside(cluster) as outside:
        outside.wait(MESSAGES)
        until("the queue is empty", lambda: waiting(cluster) == 0)
        assert outside.copies() == dict.fromkeys((entry.token for entry in ledger.acknowledged()), 1)


def test_only_what_was_under_way_comes_twice(
    cluster: ClusterUnderTest, nemesis: Nemesis, courier: Callable[[ClusterUnderTest, Ledger], SmtpCourier]
) -> None:
    """The senders are killed while replies to content are held back; what was on their connections is in doubt."""
    ledger = Ledger("doubt")
    with Outside(cluster) as outside:
        gates = outside.hold(MESSAGES)
        with Load(cluster, ledger, [recipient(cluster)], MESSAGES, courier=courier):
            pass
        until("content waits for its reply", lambda: outside.reached(gates[0]))
        killed = nemesis.kill("smtp-out")
        before = outside.connections
        outside.release(gates)
        nemesis.healed(*killed)
        outside.wait(MESSAGES)
        until("the queue is empty", lambda: waiting(cluster) == 0)
        copies = outside.copies()
        assert set(copies) == {entry.token for entry in ledger.acknowledged()}
        repeated = {token for token, count in copies.items() if count > 1}
        assert repeated, "content that came without a reply was not sent again"
        assert repeated <= set(outside.tokens(until_connection=before))
        assert len(repeated) <= CONNECTIONS
        assert max(copies.values()) == 2


@pytest.mark.parametrize("service", ["postgresql", "smtp-out", "kafka"])
def test_a_kill_while_mail_flows_out_loses_nothing(
    cluster: ClusterUnderTest,
    nemesis: Nemesis,
    courier: Callable[[ClusterUnderTest, Ledger], SmtpCourier],
    service: str,
) -> None:
    """Repeats are those of attempts whose end was not written yet: at most one for each connection."""
    ledger = Ledger(f"flow-{service}")
    with Outside(cluster) as outside:
        with Load(cluster, ledger, [recipient(cluster)], 2 * MESSAGES, courier=courier):
            outside.wait(MESSAGES // 4)
            killed = nemesis.kill(service)
        nemesis.healed(*killed)
        outside.wait(2 * MESSAGES)
        until("the queue is empty", lambda: waiting(cluster) == 0)
        copies = outside.copies()
        assert set(copies) == {entry.token for entry in ledger.acknowledged()}
        assert max(copies.values()) <= 2
        assert sum(copies.values()) - len(copies) <= CONNECTIONS
