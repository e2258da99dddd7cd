"""What settings say of roles, and wishes for their holders, on the real node table."""

from datetime import UTC, datetime

import pytest

from posthorn_model.cluster import Process
from posthorn_model.ids import Epoch, NodeId
from posthorn_storage import Fence, Storage
from posthorn_storage.roles import Declared, Lists, problems

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def said(*lists: Lists) -> list[Declared]:
    return [Declared(NodeId(number), each) for number, each in enumerate(lists, 1)]


def test_lists_that_agree_are_no_problem() -> None:
    assert problems(said({"purge.stores": [[1, 2]]}, {"purge.stores": [[2, 1]]}), {1, 2}) == []
    assert problems(said({"purge.stores": []}, {"purge.stores": []}), {1, 2}) == []
    assert problems([], set()) == []


def test_an_unknown_node_is_told() -> None:
    assert problems(said({"purge.stores": [[1, 9, 8]]}), {1, 2}) == [
        "cluster.roles.purge.stores on node 1 names nodes 8, 9: not in the cluster"
    ]


def test_lists_that_differ_are_told() -> None:
    found = problems(said({"purge.stores": [[1]]}, {"purge.stores": []}, {"purge.stores": [[1]]}), {1, 2, 3})
    assert found == ["cluster.roles.purge.stores differs between nodes: [[1]] on nodes 1, 3; [] on node 2"]


def test_a_share_that_nobody_does_is_told() -> None:
    found = problems(said({"purge.stores": [[1], [2]]}), {1, 2})
    assert found == ["cluster.roles.purge.stores on node 1: none of node 2 runs maintenance, nobody does it"]


def test_many_problems_are_cut_off() -> None:
    wrong = {f"role{number}": [[999]] for number in range(200)}
    assert len(problems(said(wrong), {1})) == 100


async def beat(storage: Storage, node: int, service: str = "maintenance", state: str = "ready") -> None:
    await storage.nodes.claim_node(NodeId(node), f"token {node}", 60)
    process = Process(NodeId(node), service, f"boot {node}", "h", "", state, {}, 0.0, NOW, NOW, live=True)
    assert await storage.nodes.beat(process, f"token {node}", 60)


@pytest.mark.postgres
async def test_what_live_processes_declare_is_compared(storage: Storage) -> None:
    await beat(storage, 1)
    await beat(storage, 2, service="imap")
    await storage.roles.declare("boot 1", {"purge.stores": [(1, 2), (7,)]})
    assert await storage.roles.declared() == [Declared(NodeId(1), {"purge.stores": [[1, 2], [7]]})]
    assert await storage.roles.problems() == [
        "cluster.roles.purge.stores on node 1 names node 7: not in the cluster",
        "cluster.roles.purge.stores on node 1: none of node 7 runs maintenance, nobody does it",
    ]
    await storage.nodes.leave("boot 1")
    assert await storage.roles.declared() == []


@pytest.mark.postgres
async def test_a_wish_counts_while_its_node_can_hold_the_role(storage: Storage) -> None:
    wishes = storage.roles.wishes
    await storage.roles.wish("role/x", NodeId(1))
    assert await wishes() == {}, "nobody lives there"
    await beat(storage, 1)
    assert await wishes() == {"role/x": 1}
    await storage.roles.wish("role/x", NodeId(2))
    await beat(storage, 2, service="imap")
    assert await wishes() == {}, "it runs another service"
    await storage.roles.wish("role/x", NodeId(1))
    await beat(storage, 1, state="draining")
    assert await wishes() == {}, "it leaves"
    await beat(storage, 1)
    await storage.roles.wish("role/x", None)
    assert await wishes() == {}


@pytest.mark.postgres
async def test_a_tenure_tells_who_holds_a_role_since_when(storage: Storage) -> None:
    key = "role/x"
    epoch = (await storage.leases.acquire([key], "boot 1", 60))[key]
    await storage.roles.take(Fence(key, epoch), NodeId(1))
    await storage.roles.take(Fence(key, Epoch(epoch + 1)), NodeId(2))
    (tenure,) = await storage.roles.tenures()
    assert (tenure.node, tenure.boot, tenure.epoch, tenure.live, tenure.wished) == (1, "boot 1", epoch, True, None)
    assert tenure.since is not None
    await storage._database.execute("UPDATE lease SET until = now()")
    await storage.leases.acquire([key], "boot 2", 60)
    (tenure,) = await storage.roles.tenures()
    assert (tenure.node, tenure.since, tenure.boot) == (None, None, "boot 2"), "who took it has not said so yet"
