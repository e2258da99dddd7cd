"""Migrations: bring a database to this version's schema. Only who migrates imports this: it loads Alembic.

Any number of processes may call `migrate` at the same time: one works under an advisory lock, the others wait and find
nothing left to do. All of it is one transaction, so a process killed in the middle leaves nothing half done.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import asyncpg
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from posthorn_model.errors import Unavailable
from posthorn_storage.schema import metadata
from posthorn_storage.version import FOLDER

_LOCK = 0x504F5354484F524E
_CONNECT_SECONDS = 10.0
T = TypeVar("T")


async def migrate(dsn: str) -> None:
    """Bring the database at `dsn` (postgresql:// URL) to this version's schema. Idempotent. Raises Unavailable."""
    await run_in(dsn, _upgrade)


async def differences(dsn: str) -> list[Any]:
    """What Alembic's comparison finds between the database at `dsn` and the tables of posthorn_storage.schema."""
    return await run_in(dsn, _compare)


def alembic_config(connection: Connection) -> Config:
    """The configuration Alembic's commands work with, inside `connection`."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("file_template", "r%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config


async def run_in(dsn: str, work: Callable[[Connection], T]) -> T:
    """Run `work` with a SQLAlchemy connection to `dsn`, in one transaction. Raises Unavailable."""

    async def connect() -> Any:
        return await asyncpg.connect(dsn, timeout=_CONNECT_SECONDS)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        with _translated():
            async with engine.begin() as connection:
                return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    command.upgrade(alembic_config(connection), "head")


def _compare(connection: Connection) -> list[Any]:
    return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Unavailable(step="migrate", cause=repr(error)) from error
    except DBAPIError as error:
        if error.connection_invalidated or isinstance(error.orig, OSError):
            raise Unavailable(step="migrate", cause=repr(error.orig)) from error
        raise
