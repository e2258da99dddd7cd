"""Whether a database has the schema that this version needs. Reads the names of the migrations, not the migrations."""

from pathlib import Path

import asyncpg

from posthorn_model.errors import Unavailable
from posthorn_storage.database import Database

FOLDER = Path(__file__).parent / "migrations"
CONNECT_SECONDS = 10.0


def known_revisions() -> list[str]:
    """Every revision of this version, the newest first: the numbers in the files' names, such as r0001_initial.py."""
    names = sorted((path.name for path in (FOLDER / "versions").glob("r[0-9]*_*.py")), reverse=True)
    return [name[1:].partition("_")[0] for name in names]


async def is_migrated(dsn: str) -> bool:
    """Whether the database at `dsn` has this version's schema, or a newer one. Raises Unavailable."""
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
        try:
            current = await connection.fetchval("SELECT version_num FROM alembic_version")
        finally:
            await connection.close()
    except asyncpg.UndefinedTableError:
        return False
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        raise Unavailable("the database does not answer", reason=type(error).__name__) from error
    return current is not None and current not in known_revisions()[1:]


async def check_version(database: Database) -> None:
    """Raise Unavailable when the database was never migrated or is behind this version.

    A schema newer than this version is accepted: migrations expand first (design law 11).
    """
    known = known_revisions()
    try:
        current = await database.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        current = None
    if current is None:
        raise Unavailable("the database has no schema yet: migrate it first", expected=known[0])
    if current in known[1:]:
        raise Unavailable("the database's schema is older than this version: migrate it first", found=current)
