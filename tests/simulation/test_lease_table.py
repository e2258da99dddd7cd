"""The lease table of the simulation keeps the contract of the real one."""

import pytest
from tests.simulation.lease_table import LeaseTable, OpenTable

from posthorn_model.ids import Epoch
from posthorn_testkit.contracts.leases import LeaseContract, LeaseTrial


@pytest.fixture
def trial() -> LeaseTrial:
    table = LeaseTable(lambda: 1000.0)

    async def expire(key: str) -> None:
        table.rows[key].until = table.now() - 1

    async def write(key: str, epoch: Epoch) -> bool:
        return table.write(key, epoch, "whoever")

    return LeaseTrial(OpenTable(table), expire, write)


class TestLeaseTable(LeaseContract):
    """The whole contract."""
