"""The data folder of a local cluster: its files, its lock, and writes that are whole or not there.

One process at a time holds the folder, by a lock that the kernel drops when that process dies, however it dies.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posthorn_ctl.cluster.errors import ClusterError


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Where everything of one cluster lies; `path` is absolute."""

    path: Path

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def contract(self) -> Path:
        return self.path / "cluster.json"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets.json"

    @property
    def ports(self) -> Path:
        return self.path / "ports.json"

    @property
    def topology(self) -> Path:
        return self.path / "topology.toml"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def blobs(self) -> Path:
        return self.path / "blobs"

    def node(self, number: int) -> Path:
        return self.path / "nodes" / str(number)

    def part(self, name: str) -> Path:
        return self.path / name


def at(path: Path) -> DataFolder:
    """The data folder at a path, which need not exist."""
    return DataFolder(path.absolute())


def made(path: Path) -> DataFolder:
    """The data folder at a path, made when it is not there and proven writable. Raises ClusterError."""
    folder = at(path)
    try:
        # Others may pass through (the database's user must), but only see names that give nothing away.
        folder.path.mkdir(parents=True, exist_ok=True, mode=0o755)
        folder.logs.mkdir(exist_ok=True)
        probe = folder.path / f".probe-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ClusterError(
            f"the data folder {folder.path} cannot be used: {error.strerror}: name another with --data", code=2
        ) from None
    return folder


def holder(folder: DataFolder) -> int | None:
    """The process id of who runs this folder's cluster now; None when nobody does."""
    try:
        with folder.lock.open("r", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text.isdigit() else 0
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClusterError(f"{folder.lock} cannot be read: {error.strerror}", code=2) from None
    return None


@contextmanager
def held(folder: DataFolder) -> Iterator[None]:
    """Hold the folder while the context is open. Raises ClusterError naming who holds it already."""
    descriptor = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise ClusterError(
                f"a cluster is running on {folder.path} already (process {owner}): "
                f"stop it with `posthorn stop --data {folder.path}`, or name another folder with --data",
                code=3,
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace a file so that a reader sees the old or the new content, never half of one."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def read_json(path: Path) -> Any:
    """The content of a JSON file, None when it is not there. Raises ClusterError when it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ClusterError(f"{path} cannot be read: {error}", code=2) from None
