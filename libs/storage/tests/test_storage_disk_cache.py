"""The cache on this machine's disk: shared, bounded, verified, and never the reason that something fails."""

import asyncio
import os
import random
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from posthorn_model.errors import Unavailable
from posthorn_model.ids import BlobKey
from posthorn_storage.blobs.disk_cache import DiskCache

MB = 1024 * 1024


def key_of(number: int) -> BlobKey:
    return BlobKey(number.to_bytes(32, "big"))


def pieces(folder: Path) -> list[Path]:
    return sorted(folder.glob("??/*.piece"))


def disk_used(folder: Path) -> int:
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in pieces(folder))


async def test_what_was_added_is_found_by_every_process_and_after_a_restart(tmp_path: Path) -> None:
    first, second = await DiskCache.open(tmp_path, MB), await DiskCache.open(tmp_path, MB)
    await first.add(key_of(1), 0, b"content")
    await first.add(key_of(1), 1, b"")
    assert await second.find(key_of(1), 0) == b"content"
    assert await second.find(key_of(1), 1) == b""
    assert await second.find(key_of(1), 2) is None
    first.close()
    second.close()
    assert await second.find(key_of(1), 0) is None
    third = await DiskCache.open(tmp_path, MB)
    assert await third.find(key_of(1), 0) == b"content"
    third.close()
    assert {path.stat().st_mode & 0o077 for path in [*pieces(tmp_path), tmp_path / "usage", tmp_path / "tmp"]} == {0}


async def test_what_was_read_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = await DiskCache.open(tmp_path, MB)
    data = os.urandom(100_000)
    for number in range(8):
        await cache.add(key_of(number), 0, data)
    now = time.time()
    for number, path in enumerate(pieces(tmp_path)):
        os.utime(path, (now - 1000 + number, now - 1000 + number))
    assert await cache.find(key_of(0), 0) == data
    for number in range(8, 12):
        await cache.add(key_of(number), 0, data)
        assert disk_used(tmp_path) <= MB
    assert await cache.find(key_of(0), 0) == data
    assert await cache.find(key_of(1), 0) is None
    assert await cache.find(key_of(11), 0) == data
    cache.close()


async def test_what_is_too_large_a_part_is_not_kept(tmp_path: Path) -> None:
    cache = await DiskCache.open(tmp_path, MB)
    await cache.add(key_of(1), 0, bytes(MB // 4))
    assert pieces(tmp_path) == []
    cache.close()


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "swap"])
async def test_damaged_pieces_are_misses(tmp_path: Path, damage: str) -> None:
    cache = await DiskCache.open(tmp_path, MB)
    await cache.add(key_of(1), 0, b"content" * 100)
    await cache.add(key_of(2), 0, b"CONTENT" * 100)
    first, second = pieces(tmp_path)
    stored = bytearray(first.read_bytes())
    if damage == "flip":
        stored[50] ^= 1
        first.write_bytes(stored)
    elif damage == "cut":
        first.write_bytes(stored[:-1])
    elif damage == "empty":
        first.write_bytes(b"")
    else:
        first.write_bytes(second.read_bytes())
    assert await cache.find(key_of(1), 0) is None
    assert not first.exists()
    await cache.add(key_of(1), 0, b"content" * 100)
    assert await cache.find(key_of(1), 0) == b"content" * 100
    cache.close()


PROGRAM = """
import asyncio, os, pathlib, random, sys
from posthorn_model.ids import BlobKey
from posthorn_storage.blobs.disk_cache import DiskCache

async def main(path, seed):
    cache = await DiskCache.open(pathlib.Path(path), 1 << 20)
    chance = random.Random(seed)
    for _ in range(int(sys.argv[3])):
        number = chance.randrange(60)
        content = number.to_bytes(4, "big") * chance.choice((1000, 20_000))
        found = await cache.find(BlobKey(number.to_bytes(32, "big")), len(content))
        assert found in (None, content), number
        if found is None:
            await cache.add(BlobKey(number.to_bytes(32, "big")), len(content), content)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


async def test_processes_keep_the_bound_together(tmp_path: Path) -> None:
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, str(tmp_path), str(seed), "400")
        for seed in range(3)
    ]
    most = 0
    waiting = asyncio.gather(*(process.wait() for process in processes))
    while not waiting.done():
        with suppress(FileNotFoundError):
            most = max(most, disk_used(tmp_path))
        await asyncio.sleep(0.01)
    assert await waiting == [0, 0, 0]
    most = max(most, disk_used(tmp_path))
    assert 0 < most <= MB
    assert disk_used(tmp_path) <= MB
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_a_killed_process_leaves_a_cache_that_works(tmp_path: Path) -> None:
    chance = random.Random(1)
    for seed in range(4):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, str(tmp_path), str(seed), "1000000000"
        )
        await asyncio.sleep(0.3 + chance.random() / 3)
        process.kill()
        await process.wait()
    cache = await DiskCache.open(tmp_path, MB)
    for number in range(20):
        await cache.add(key_of(1000 + number), 0, bytes(100_000))
        assert await cache.find(key_of(1000 + number), 0) == bytes(100_000)
        assert disk_used(tmp_path) <= MB
    cache.close()


async def test_a_full_disk_and_a_lost_folder_are_misses(tmp_path: Path) -> None:
    cache = await DiskCache.open(tmp_path / "cache", MB)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        await cache.add(key_of(1), 0, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await cache.find(key_of(1), 0) is None
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []
    (tmp_path / "cache").rename(tmp_path / "elsewhere")
    await cache.add(key_of(2), 0, b"x")
    assert await cache.find(key_of(2), 0) is None
    cache.close()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable):
        await DiskCache.open(tmp_path / "file" / "cache", MB)
