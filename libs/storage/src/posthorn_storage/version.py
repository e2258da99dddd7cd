"""Whether a database has the schema that this release needs. Reads the names of the migrations, not the migrations.

A process refuses a schema that is older than it needs, and one from which something was taken away that it still uses
(the floor, raised by a contract: see posthorn_storage.migrations.revisions). Anything else that is newer is accepted.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from posthorn_model.errors import Unavailable
from posthorn_storage.database import Database
from posthorn_storage.database.connect import connect_alone

FOLDER = Path(__file__).parent / "migrations"
CONNECT_SECONDS = 10.0
FLOOR: Final = "schema_floor"
"""The cluster setting that names the oldest revision whose code may run."""

STANDING = """
SELECT version_num AS current, (SELECT value #>> '{}' FROM cluster_setting WHERE name = $1) AS floor
FROM alembic_version
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """A database's schema: the newest revision it has (None: no schema), and the oldest whose code may run on it."""

    current: str | None
    floor: str | None

    @property
    def refusal(self) -> str | None:
        """Why this release cannot run on it; None when it can."""
        known = known_revisions()
        if self.current is None:
            return "the database has no schema yet: migrate it first"
        if self.current < known[0]:
            return "the database's schema is older than this version: migrate it first"
        if self.floor is not None and known[0] < self.floor:
            return "the database's schema has left this version behind: run a newer one"
        return None


def known_revisions() -> list[str]:
    """Every revision of this version, the newest first: the numbers in the files' names, such as r0001_initial.py."""
    names = sorted((path.name for path in (FOLDER / "versions").glob("r[0-9]*_*.py")), reverse=True)
    return [name[1:].partition("_")[0] for name in names]


async def read_standing(connection: Any) -> Standing:
    """How the database of an asyncpg connection, or a Database, stands."""
    try:
        row = await connection.fetchrow(STANDING, FLOOR)
    except asyncpg.UndefinedTableError:
        row = None
    return Standing(None, None) if row is None else Standing(row["current"], row["floor"])


async def is_migrated(dsn: str) -> bool:
    """Whether the database at `dsn` has this version's schema, or a newer one. Raises Unavailable."""
    try:
        connection = await connect_alone(dsn, CONNECT_SECONDS)
        try:
            standing = await read_standing(connection)
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        raise Unavailable("the database does not answer", reason=type(error).__name__) from error
    return standing.current is not None and standing.current >= known_revisions()[0]


async def check_version(database: Database) -> None:
    """Raise Unavailable when this version cannot run on the database's schema."""
    standing = await read_standing(database)
    if standing.refusal is not None:
        raise Unavailable(standing.refusal, found=standing.current, needed=known_revisions()[0], floor=standing.floor)
