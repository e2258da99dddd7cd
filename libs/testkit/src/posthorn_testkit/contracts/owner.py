"""A process that owns keys and writes under its leases; it reads its plan as one line of JSON and says what it does.

Only the contract suite of the bus runs it, to stop and continue it as a whole.
"""

import asyncio
import json
import sys
from typing import Any

from posthorn_bus import BusIdentity, LeaseKeeper, Owner, open_bus
from posthorn_model.clock import SystemClock
from posthorn_model.events import Topic
from posthorn_storage.database import Database
from posthorn_storage.leases import LeaseStore
from posthorn_storage.nodes import NodeStore
from posthorn_testkit.contracts.fleet import FAILURE_AFTER, QUICK, SHARDS, plan_settings, write_under_lease


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


async def main(plan: dict[str, Any]) -> None:
    """Own all shards until killed."""
    identity = BusIdentity(**plan["identity"])
    database = await Database.open(plan["dsn"])
    nodes = NodeStore(database, failure_after=FAILURE_AFTER)
    bus = open_bus(plan_settings(plan), identity, nodes.peer_directory(identity.boot))
    await bus.start()
    keeper = LeaseKeeper(LeaseStore(database), f"{identity.member}/{identity.boot}", SystemClock(), QUICK)
    await keeper.start()
    owner = Owner(bus, keeper, identity.node, Topic.QUEUE, SHARDS, write_under_lease(database, say))
    await owner.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.stdin.readline())))
