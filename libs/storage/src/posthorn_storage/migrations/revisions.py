"""The revisions of this release as values: what each does, and who may run beside it. Loads Alembic, runs nothing.

A file of versions/ has one of two forms:
  - `def upgrade()` with Alembic's operations: turned into statements once, run as one transaction. It only adds.
  - `async def online(work)`, for what must not be one transaction: building an index, filling in many rows. Each step
    may be repeated, and goes on where it was cut short (see posthorn_storage.migrations.online).

`contract = "NNNN"` marks one that takes away what no code needs any more that knows revision NNNN. It waits until every
live process does, and from then on older code is refused. `excused = {rule: reason}` answers the rules of .rules.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import registry

from posthorn_storage.migrations.online import Online
from posthorn_storage.version import FOLDER


@dataclass(frozen=True, slots=True)
class Revision:
    """One step of the schema: either `statements` (one transaction) or `online`."""

    number: str
    after: str | None
    about: str
    statements: tuple[str, ...] = ()
    online: Callable[[Online], Awaitable[None]] | None = None
    contract: str | None = None
    excused: Mapping[str, str] = field(default_factory=dict)


@cache
def revisions() -> tuple[Revision, ...]:
    """Every revision of this release, the oldest first."""
    scripts = reversed(list(ScriptDirectory(str(FOLDER)).walk_revisions()))
    return tuple(_revision(script.module, script.doc) for script in scripts)


def _revision(module: Any, about: str) -> Revision:
    online = getattr(module, "online", None)
    return Revision(
        module.revision,
        module.down_revision,
        about.rstrip("."),
        () if online else _statements(module.upgrade),
        online,
        getattr(module, "contract", None),
        getattr(module, "excused", {}),
    )


class _Lines(list[str]):
    """What Alembic writes a script to: one write for each statement."""

    def write(self, text: str) -> None:
        if text.strip():
            self.append(text.strip())

    def flush(self) -> None:
        """There is nothing to flush."""


def _statements(upgrade: Callable[[], None]) -> tuple[str, ...]:
    lines = _Lines()
    dialect = registry.load("postgresql.asyncpg")()
    context = MigrationContext.configure(dialect=dialect, opts={"as_sql": True, "output_buffer": lines})
    with Operations.context(context):
        upgrade()
    return tuple(lines)
