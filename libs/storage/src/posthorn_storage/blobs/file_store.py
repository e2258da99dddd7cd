"""Blobs as files: one file for each object, in folders fanned out by its name. The embedded default.

A file is written under `tmp`, fsynced, renamed into place and its folder fsynced, so a name that exists is whole and
durable. Names come from keys as hexadecimal, never from anybody's text.
"""

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from posthorn_model.errors import BlobNotFound, Unavailable
from posthorn_model.ids import BlobKey
from posthorn_model.ports import Listing, StoredObject
from posthorn_storage.blobs.object_names import key_of
from posthorn_storage.blobs.threads import Threads

_THREADS = 8
_ABANDONED_SECONDS = 24 * 3600
T = TypeVar("T")


class FileStore:
    """The port posthorn_model.ports.ObjectStore over a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = Threads("blob-file", _THREADS)

    @classmethod
    async def open(cls, path: Path) -> "FileStore":
        """Make the folder when it is missing and remove what writers left unfinished long ago. Raises Unavailable."""
        store = cls(path)
        try:
            await store._run("open", store._prepare)
        except Unavailable:
            await store.close()
            raise
        return store

    async def put(self, key: BlobKey, data: bytes | memoryview) -> None:
        """See the port."""
        await self._run("put", lambda: self._write(key, data))

    async def get(self, key: BlobKey) -> bytes:
        """See the port."""
        return await self._run("get", lambda: self._file(key).read_bytes())

    async def get_range(self, key: BlobKey, start: int, length: int) -> bytes:
        """See the port."""

        def read() -> bytes:
            with self._file(key).open("rb") as file:
                file.seek(max(start, 0))
                return file.read(max(length, 0))

        return await self._run("get", read)

    async def list(self, after: str, limit: int) -> Listing:
        """See the port: in the order of the names, whole folders at a time."""
        return await self._run("list", lambda: self._page(after, limit))

    async def delete(self, key: BlobKey) -> None:
        """See the port."""
        await self._run("delete", lambda: self._file(key).unlink(missing_ok=True))

    async def probe(self) -> None:
        """See the port: writes and removes a small file."""
        await self._run("probe", self._touch)

    async def close(self) -> None:
        """See the port."""
        self._threads.close()

    async def _run(self, step: str, work: Callable[[], T]) -> T:
        try:
            return await self._threads.run(step, work)
        except FileNotFoundError as error:
            if step == "get":
                raise BlobNotFound(cause=repr(error)) from error
            raise Unavailable(step=f"blob {step}", cause=repr(error)) from error
        except OSError as error:
            raise Unavailable(step=f"blob {step}", cause=repr(error)) from error

    def _prepare(self) -> None:
        (self._path / "tmp").mkdir(parents=True, exist_ok=True)
        limit = time.time() - _ABANDONED_SECONDS
        for left in (self._path / "tmp").iterdir():
            with suppress(FileNotFoundError):  # another process's, which has just finished with it
                if left.stat().st_mtime < limit:
                    left.unlink()
        self._touch()

    def _touch(self) -> None:
        file = self._path / "tmp" / f"probe.{secrets.token_hex(8)}"
        file.write_bytes(b"probe")
        file.unlink()

    def _page(self, after: str, limit: int) -> Listing:
        found: list[StoredObject] = []
        foreign = 0
        for first in _names(self._path):
            if first == "tmp" or first < after[:2]:
                continue
            for second in _names(self._path / first):
                if first + second < after[:4]:
                    continue
                folder = self._path / first / second
                for name in _names(folder):
                    if name <= after:
                        continue
                    key = key_of(f"{first}/{name}") if name[2:4] == second else None
                    if key is None:
                        foreign += 1
                        continue
                    try:
                        found.append(StoredObject(key, (folder / name).stat().st_mtime))
                    except FileNotFoundError:
                        continue  # deleted meanwhile
                if len(found) >= limit:
                    return Listing(found, foreign, found[-1].key.hex())
        return Listing(found, foreign, "")

    def _file(self, key: BlobKey) -> Path:
        name = key.hex()
        return self._path / name[:2] / name[2:4] / name

    def _write(self, key: BlobKey, data: bytes | memoryview) -> None:
        target = self._file(key)
        self._make_folder(target.parent)
        unfinished = self._path / "tmp" / f"{target.name}.{secrets.token_hex(8)}"
        try:
            with unfinished.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
        _sync_folder(target.parent)

    def _make_folder(self, folder: Path) -> None:
        """Make the two levels of a fan-out folder durable, each in its parent."""
        for made in (folder.parent, folder):
            if not made.is_dir():
                made.mkdir(exist_ok=True)
                _sync_folder(made.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _names(folder: Path) -> list[str]:
    """What is in a folder, sorted; nothing when it is none."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
