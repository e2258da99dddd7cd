"""Whether a database has the schema that this version needs. Reads the names of the migrations, not the migrations."""

from pathlib import Path

import asyncpg

from posthorn_model.errors import Unavailable
from posthorn_storage.database import Database

FOLDER = Path(__file__).parent / "migrations"


def known_revisions() -> list[str]:
    """Every revision of this version, the newest first: the numbers in the files' names, such as r0001_initial.py."""
    names = sorted((path.name for path in (FOLDER / "versions").glob("r[0-9]*_*.py")), reverse=True)
    return [name[1:].partition("_")[0] for name in names]


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
