"""SIGKILL in the middle of a run: nothing that was acknowledged is lost, nothing is there twice, and it goes on."""

from collections.abc import Callable

import pytest
from tests.faults.couriers import AppendCourier, Courier, ImportCourier, SmtpCourier, Target
from tests.faults.events import EventKeeper
from tests.faults.ledger import Ledger
from tests.faults.load import Load
from tests.faults.nemesis import Nemesis, lives

from posthorn_testkit.cluster import ClusterUnderTest, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
MESSAGES = 120


def passwords(accounts: list[Target]) -> dict[str, str]:
    return {each.name: each.password for each in accounts}


@pytest.mark.parametrize(
    ("service", "courier", "felt"),
    [
        ("smtp-in", SmtpCourier, True),
        ("smtp-out", SmtpCourier, False),
        ("imap", AppendCourier, True),
        ("jmap", ImportCourier, True),
        ("dav", SmtpCourier, False),
        ("maintenance", SmtpCourier, False),
        ("kafka", SmtpCourier, False),
        ("postgresql", SmtpCourier, True),
        ("postgresql", AppendCourier, True),
        ("postgresql", ImportCourier, True),
    ],
)
def test_a_killed_service_loses_nothing(
    cluster: ClusterUnderTest,
    nemesis: Nemesis,
    new_accounts: Callable[[int], list[Target]],
    service: str,
    courier: type[Courier],
    felt: bool,
) -> None:
    """`felt`: whether clients notice at all; of what mail does not pass through they must not."""
    accounts = new_accounts(2)
    ledger = Ledger(f"kill-{service}")
    with Load(cluster, ledger, accounts, MESSAGES, courier=courier) as load:
        ledger.wait(MESSAGES // 4)
        killed = nemesis.kill(service)
        assert len(ledger.acknowledged()) < MESSAGES, "the run was over before the kill"
    assert len(ledger.acknowledged()) == MESSAGES
    assert (load.breaks > 0) == felt
    nemesis.healed(*killed)
    ledger.verify(cluster, passwords(accounts), nodes=(1, 2))


@pytest.mark.parametrize("service", ["dav", "postgresql"])
def test_a_killed_service_loses_no_event(
    cluster: ClusterUnderTest, nemesis: Nemesis, new_accounts: Callable[[int], list[Target]], service: str
) -> None:
    keeper = EventKeeper(cluster, new_accounts(1)[0])
    killed = []
    tokens = [f"event-{number:03}" for number in range(MESSAGES // 2)]
    for number, token in enumerate(tokens):
        if number == MESSAGES // 4:
            killed = nemesis.kill(service)
        keeper.put(token)
    assert keeper.breaks > 0
    nemesis.healed(*killed)
    assert keeper.tokens(1) == keeper.tokens(2) == tokens


def test_random_kills_lose_nothing(
    cluster: ClusterUnderTest, nemesis: Nemesis, new_accounts: Callable[[int], list[Target]]
) -> None:
    accounts = new_accounts(3)
    ledger = Ledger("random")
    killed = []
    with Load(cluster, ledger, accounts, 3 * MESSAGES, connections=6):
        for blow in range(5):
            ledger.wait((blow + 1) * MESSAGES // 2)
            killed.append(nemesis.kill_random("smtp-in", "imap", "kafka", "postgresql"))
    nemesis.healed(*killed)
    ledger.verify(cluster, passwords(accounts), nodes=(1, 2))


def test_a_node_whose_processes_are_killed_leaves_the_other_undisturbed(
    cluster: ClusterUnderTest, nemesis: Nemesis, new_accounts: Callable[[int], list[Target]]
) -> None:
    """Every process of node 2 dies twice; who talks to node 1 is not even interrupted."""
    accounts = new_accounts(2)
    ledger = Ledger("node")
    client = cluster.imap((accounts[0].name, accounts[0].password), node=1)
    with Load(cluster, ledger, accounts, MESSAGES, nodes=(1,)) as load:
        killed = nemesis.kill(node=2)
        ledger.wait(MESSAGES // 2)
        until("other processes on node 2", lambda: bool(nemesis.victims("smtp-in", node=2)))
        killed += nemesis.kill(node=2)
    assert load.breaks == 0
    assert client.noop()[0] == "OK"
    client.shutdown()
    nemesis.healed(*killed)
    ledger.verify(cluster, passwords(accounts), nodes=(1, 2))


def test_nothing_is_left_of_a_killed_cluster_and_its_next_life_has_everything(
    cluster: ClusterUnderTest, nemesis: Nemesis, new_accounts: Callable[[int], list[Target]]
) -> None:
    """The senders go on all the time: the next life has the same addresses."""
    accounts = new_accounts(2)
    ledger = Ledger("up")
    with Load(cluster, ledger, accounts, MESSAGES) as load:
        ledger.wait(MESSAGES // 4)
        left = nemesis.kill_all()
        assert len(left) >= len(nemesis.victims())
        until("no process is left", lambda: not any(lives(pid) for pid in left))
        cluster.up()
    assert load.breaks > 0
    assert len(ledger.acknowledged()) == MESSAGES
    ledger.verify(cluster, passwords(accounts), nodes=(1, 2))
