"""PostgreSQL as it is set up for mail, with fsync on (docs/scaling.md)."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from posthorn_testkit.other_postgres import other_postgres_server
from posthorn_testkit.servers import postgres_server

PACKAGES = Path("/usr/lib/postgresql")
"""Where Debian's packages put the programs of each version."""


def sized() -> dict[str, str]:
    """A quarter of the memory, at most 4 GB, is its cache."""
    quarter = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    return {"shared_buffers": f"{min(quarter >> 20, 4096)}MB", "max_wal_size": "8GB"}


@contextmanager
def embedded() -> Iterator[str]:
    """The superuser's DSN of the embedded server. Raises PartError."""
    with postgres_server(**sized()) as server:
        yield server


@contextmanager
def packaged(tell: Callable[[str], None]) -> Iterator[str]:
    """The same of the newest server of the system's packages that packs with lz4, as the one of compose.yaml does.

    Where there is none it is the embedded server, which cannot. Raises PartError.
    """
    found = _packing_with_lz4()
    if found is None:
        tell(
            "no PostgreSQL with lz4 among the system's packages (apt-get install postgresql): the embedded one is used"
        )
        with embedded() as server:
            yield server
    else:
        with other_postgres_server(found, {**sized(), "default_toast_compression": "lz4"}) as server:
            yield server


def _packing_with_lz4() -> Path | None:
    places = [place for place in PACKAGES.glob("*/bin") if place.parent.name.isdigit()]
    for place in sorted(places, key=lambda place: int(place.parent.name), reverse=True):
        if (place / "postgres").is_file() and (place / "pg_config").is_file():
            done = subprocess.run([place / "pg_config", "--configure"], capture_output=True, text=True, check=False)
            if "--with-lz4" in done.stdout:
                return place
    return None
