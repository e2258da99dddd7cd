"""The contract of the ObjectStore port, for every implementation.

A test module subclasses ObjectStoreContract and gives it a fixture `objects`: an open store that holds nothing.
"""

import asyncio
import os
import secrets
import time

import pytest

from posthorn_model.errors import BlobNotFound, Unavailable
from posthorn_model.ids import BlobKey
from posthorn_model.ports import ObjectStore


def fresh_key() -> BlobKey:
    """A key as the blob store gives it to an object: a hash and a number."""
    return BlobKey(secrets.token_bytes(40))


async def all_keys(objects: ObjectStore, limit: int) -> list[BlobKey]:
    """What the pages of a listing tell, one after the other."""
    keys: list[BlobKey] = []
    after = ""
    while True:
        page = await objects.list(after, limit)
        keys += [found.key for found in page.objects]
        if not page.after:
            return keys
        assert page.after != after
        after = page.after


class ObjectStoreContract:
    """What every object store must do."""

    @pytest.mark.parametrize("size", [0, 1, 70_000, 6 * 1024 * 1024])
    async def test_what_was_put_comes_back(self, objects: ObjectStore, size: int) -> None:
        key, data = fresh_key(), os.urandom(size)
        await objects.put(key, data)
        assert await objects.get(key) == data
        await objects.put(key, memoryview(data))
        assert await objects.get(key) == data

    async def test_ranges(self, objects: ObjectStore) -> None:
        key, data = fresh_key(), bytes(range(256)) * 100
        await objects.put(key, data)
        assert await objects.get_range(key, 0, 10) == data[:10]
        assert await objects.get_range(key, 1000, 5000) == data[1000:6000]
        assert await objects.get_range(key, len(data) - 3, 100) == data[-3:]
        assert await objects.get_range(key, 5, 0) == b""

    async def test_missing_objects(self, objects: ObjectStore) -> None:
        key = fresh_key()
        with pytest.raises(BlobNotFound):
            await objects.get(key)
        with pytest.raises(BlobNotFound):
            await objects.get_range(key, 0, 1)
        await objects.delete(key)
        await objects.put(key, b"x")
        await objects.delete(key)
        await objects.delete(key)
        with pytest.raises(BlobNotFound):
            await objects.get(key)

    async def test_many_at_once_and_equal_keys(self, objects: ObjectStore) -> None:
        keys = [fresh_key() for _ in range(20)]
        await asyncio.gather(*(objects.put(key, key * 100) for key in keys for _ in range(3)))
        assert await asyncio.gather(*(objects.get(key) for key in keys)) == [key * 100 for key in keys]

    @pytest.mark.parametrize("limit", [1, 7, 1000])
    async def test_a_listing_tells_everything_once(self, objects: ObjectStore, limit: int) -> None:
        assert (await objects.list("", limit)).objects == []
        keys = [fresh_key() for _ in range(20)] + [BlobKey(secrets.token_bytes(41))]
        began = time.time()
        for key in keys:
            await objects.put(key, b"x")
        found = await all_keys(objects, limit)
        assert len(found) == len(keys)
        assert set(found) == set(keys)
        page = await objects.list("", 1000)
        assert page.foreign == 0
        # Clocks of servers count in whole seconds at worst.
        assert all(began - 2 < stored.stored_at < time.time() + 2 for stored in page.objects)
        for key in keys[1:]:
            await objects.delete(key)
        assert await all_keys(objects, limit) == keys[:1]

    async def test_a_cancelled_put_is_whole_or_absent(self, objects: ObjectStore) -> None:
        data = os.urandom(4 * 1024 * 1024)
        keys = [fresh_key() for _ in range(12)]
        puts = [asyncio.create_task(objects.put(key, data)) for key in keys]
        for put in puts[1:]:
            # After none, one, two, ... turns of the loop: before and while it is sent.
            await asyncio.sleep(0)
            put.cancel()
        results = await asyncio.gather(*puts, return_exceptions=True)
        assert results[0] is None
        assert any(isinstance(result, asyncio.CancelledError) for result in results)
        for key in keys:
            try:
                assert await objects.get(key) == data
            except BlobNotFound:
                continue
        # The store is as usable as before.
        await objects.put(keys[0], data)
        assert await objects.get(keys[0]) == data

    async def test_a_closed_store_is_unavailable(self, objects: ObjectStore) -> None:
        await objects.probe()
        await objects.close()
        for use in (objects.put(fresh_key(), b"x"), objects.get(fresh_key()), objects.list("", 1)):
            with pytest.raises(Unavailable):
                await use
