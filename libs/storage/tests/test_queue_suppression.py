"""The suppression list: whose mail an entry stops, how long, and what a bounce may not change."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from posthorn_model.errors import InvalidAddress, NotFound
from posthorn_storage import Storage
from posthorn_storage.queue import SuppressionList

pytestmark = pytest.mark.postgres


@pytest_asyncio.fixture
async def entries(storage: Storage) -> AsyncIterator[SuppressionList]:
    yield storage.queue.suppressions
    await storage._database.execute("DELETE FROM queue_suppression")


async def found(entries: SuppressionList, sender: str, *addresses: str) -> list[str]:
    return sorted(await entries.find(addresses, sender))


async def test_an_entry_stops_the_mail_of_its_scope(entries: SuppressionList) -> None:
    await entries.put({"Bob@Example.net": "550 5.1.1 no\r\nsuch user"}, "Shop.example", "bounce", 3600)
    await entries.put({"eve@example.net": ""}, "ann@shop.example", "bounce", 3600)
    await entries.put({"all@example.net": ""}, "", "operator")
    everybody = ("bob@example.net", "BOB@example.net", "eve@example.net", "all@example.net", "other@example.net")
    assert await found(entries, "ann@shop.example", *everybody) == [
        "BOB@example.net", "all@example.net", "bob@example.net", "eve@example.net",
    ]  # fmt: skip
    assert await found(entries, "bert@SHOP.example", *everybody) == [
        "BOB@example.net", "all@example.net", "bob@example.net",
    ]  # fmt: skip
    assert await found(entries, "ann@elsewhere.example", *everybody) == ["all@example.net"]
    entry = (await entries.find(["bob@example.net"], "ann@shop.example"))["bob@example.net"]
    assert (entry.address, entry.scope, entry.source, entry.reason) == (
        "bob@example.net", "shop.example", "bounce", "550 5.1.1 no such user",
    )  # fmt: skip


async def test_an_entry_ends_by_its_time_and_goes_later(storage: Storage, entries: SuppressionList) -> None:
    await entries.put({"a@example.net": "", "b@example.net": ""}, "x.example", "bounce", 3600)
    await storage._database.execute("UPDATE queue_suppression SET until = now() WHERE address = 'a@example.net'")
    assert await found(entries, "ann@x.example", "a@example.net", "b@example.net") == ["b@example.net"]
    assert [entry.address for entry in await entries.all()] == ["b@example.net"]
    await entries.put({"c@example.net": ""}, "x.example", "bounce", 3600)
    assert await storage._database.fetchval("SELECT count(*) FROM queue_suppression") == 2


async def test_a_bounce_changes_nothing_that_was_said_by_hand(storage: Storage, entries: SuppressionList) -> None:
    assert await entries.put({"a@example.net": "complained"}, "x.example", "complaint") == ["a@example.net"]
    assert await entries.put({"a@example.net": "550 no"}, "x.example", "bounce", 60) == []
    (entry,) = await entries.all()
    assert (entry.source, entry.until) == ("complaint", None)
    assert await entries.put({"a@example.net": "again"}, "x.example", "operator", 60) == ["a@example.net"]
    await storage._database.execute("UPDATE queue_suppression SET until = now()")
    assert await entries.put({"a@example.net": "550 no"}, "x.example", "bounce", 60) == ["a@example.net"]


async def test_listing_and_removing(entries: SuppressionList) -> None:
    for scope in ("", "x.example", "y.example"):
        await entries.put({"a@example.net": "", "b@example.net": ""}, scope, "operator")
    first = await entries.all(limit=4)
    assert [(entry.address[0], entry.scope) for entry in first] == [
        ("a", ""), ("a", "x.example"), ("a", "y.example"), ("b", ""),
    ]  # fmt: skip
    rest = await entries.all(after=(first[-1].address, first[-1].scope))
    assert [(entry.address[0], entry.scope) for entry in rest] == [("b", "x.example"), ("b", "y.example")]
    assert len(await entries.all(part="B@EX", scope="x.example", source="operator")) == 1
    assert await entries.all(source="bounce") == []
    assert await entries.remove("A@example.net", "x.example") == 1
    assert await entries.remove("a@example.net") == 2
    with pytest.raises(NotFound):
        await entries.remove("a@example.net")


async def test_what_is_no_address_is_refused(entries: SuppressionList) -> None:
    for address in ("", "bob", "@example.net", "bob@", "b ob@example.net", "b\0b@x.example", "x" * 400 + "@x"):
        with pytest.raises(InvalidAddress):
            await entries.put({address: ""}, "", "operator")
    with pytest.raises(InvalidAddress):
        await entries.put({"a@example.net": ""}, "." + "x" * 400, "operator")
