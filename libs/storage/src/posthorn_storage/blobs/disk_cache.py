"""Pieces of blobs on this machine's disk, shared by all processes of a node: bounded, verified, there after a restart.

One file for each piece of content. A file is renamed into place and has a checksum over its name and content, so what a
crash, a full disk or a stranger left is never handed out. A number in the file `usage`, changed under its lock, bounds
what all processes keep together; the one that goes over it removes what was read longest ago. Nothing is fsynced, for
all of it can be had again. Failures of this cache are misses, never errors.
"""

import fcntl
import os
import secrets
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from posthorn_model.errors import Unavailable
from posthorn_model.ids import BlobKey
from posthorn_storage.blobs.threads import Threads

_HEAD: Final = struct.Struct(">4sI")
_MAGIC: Final = b"PHc1"
_USAGE: Final = struct.Struct(">Q")
_BLOCK: Final = 4096
_THREADS: Final = 4
_WAITING: Final = 256
_LOW_WATER: Final = 0.9
_LARGEST_PART: Final = 8
"""No piece takes more than this part of the whole."""
_FRESH_SECONDS: Final = 60.0
_ABANDONED_SECONDS: Final = 3600.0


class DiskCache:
    """See the module. `limit` is in bytes of disk."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._threads = Threads("blob-cache", _THREADS, waiting=_WAITING)

    @classmethod
    async def open(cls, path: Path, limit: int) -> "DiskCache":
        """Make the folder, for this user alone, and remove what is too much. Raises Unavailable."""
        cache = cls(path, limit)
        try:
            await cache._threads.run("cache", cache._prepare)
        except (OSError, Unavailable) as error:
            cache.close()
            raise Unavailable(
                "the folder of the blob cache cannot be used", path=str(path), cause=repr(error)
            ) from error
        return cache

    async def find(self, key: BlobKey, number: int) -> bytes | None:
        """A piece that was added, now the one read last."""
        try:
            return await self._threads.run("cache", lambda: self._read(_name(key, number)))
        except (OSError, Unavailable):
            return None

    async def add(self, key: BlobKey, number: int, data: bytes) -> None:
        """Keep a piece of content."""
        with suppress(OSError, Unavailable):
            await self._threads.run("cache", lambda: self._write(_name(key, number), data))

    def close(self) -> None:
        """Start nothing more; what is kept stays."""
        self._threads.close()

    def _prepare(self) -> None:
        self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._path / "tmp").mkdir(exist_ok=True, mode=0o700)
        with self._usage() as usage:
            usage.set(self._evict(self._limit))

    def _read(self, name: str) -> bytes | None:
        path = self._file(name)
        with path.open("rb") as file:
            stored = file.read()
            if time.time() - os.fstat(file.fileno()).st_mtime > _FRESH_SECONDS:
                os.utime(file.fileno())
        if len(stored) < _HEAD.size or stored[: _HEAD.size] != _head(name, memoryview(stored)[_HEAD.size :]):
            path.unlink(missing_ok=True)
            return None
        return stored[_HEAD.size :]

    def _write(self, name: str, data: bytes) -> None:
        path, cost = self._file(name), _cost(len(data) + _HEAD.size)
        if cost > self._limit // _LARGEST_PART or path.exists():
            return
        unfinished = self._path / "tmp" / secrets.token_hex(8)
        try:
            path.parent.mkdir(exist_ok=True, mode=0o700)
            unfinished.touch(mode=0o600, exist_ok=False)
            with unfinished.open("wb") as file:
                file.write(_head(name, memoryview(data)))
                file.write(data)
            with self._usage() as usage:
                used = usage.used() + (0 if path.exists() else cost)
                if used > self._limit:
                    used = self._evict(int(self._limit * _LOW_WATER) - cost) + cost
                # Before the piece is there: a death in between counts too much, until the next look at all pieces.
                usage.set(used)
                unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    def _evict(self, target: int) -> int:
        """Remove what was read longest ago until `target` bytes are left; returns how many are."""
        found: list[tuple[float, int, Path]] = []
        for path in self._path.glob("[0-9a-f][0-9a-f]/*.piece"):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime, _cost(status.st_size), path))
        oldest = time.time() - _ABANDONED_SECONDS
        for path in (self._path / "tmp").iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
        used = sum(cost for _, cost, _ in found)
        for _, cost, path in sorted(found):
            if used <= target:
                break
            path.unlink(missing_ok=True)
            used -= cost
        return used

    @contextmanager
    def _usage(self) -> Iterator["_Usage"]:
        """How many bytes all pieces take, for one process at a time."""
        descriptor = os.open(self._path / "usage", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield _Usage(descriptor, lambda: self._evict(self._limit))
        finally:
            os.close(descriptor)

    def _file(self, name: str) -> Path:
        return self._path / name[:2] / name


@dataclass(frozen=True, slots=True)
class _Usage:
    """The number in the locked file; `count` finds it out where the file has none."""

    descriptor: int
    count: Callable[[], int]

    def used(self) -> int:
        known = os.pread(self.descriptor, _USAGE.size, 0)
        return int(_USAGE.unpack(known)[0]) if len(known) == _USAGE.size else self.count()

    def set(self, used: int) -> None:
        os.pwrite(self.descriptor, _USAGE.pack(max(used, 0)), 0)


def _name(key: BlobKey, number: int) -> str:
    return f"{key.hex()}.{number}.piece"


def _head(name: str, data: memoryview) -> bytes:
    return _HEAD.pack(_MAGIC, zlib.crc32(data, zlib.crc32(name.encode())))


def _cost(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
