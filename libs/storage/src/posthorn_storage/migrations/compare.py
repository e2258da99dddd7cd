"""For developers and tests: what Alembic finds between a database and the tables of posthorn_storage.schema."""

from collections.abc import Callable
from typing import Any, TypeVar

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from posthorn_storage.database.connect import connect_alone
from posthorn_storage.schema import metadata
from posthorn_storage.version import FOLDER

_CONNECT_SECONDS = 10.0
T = TypeVar("T")


async def differences(dsn: str) -> list[Any]:
    """What Alembic's comparison finds between the database at `dsn` and the tables."""
    return await run_in(dsn, _compare)


def alembic_config(connection: Connection) -> Config:
    """The configuration Alembic's commands work with, inside `connection`."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("file_template", "r%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config


async def run_in(dsn: str, work: Callable[[Connection], T]) -> T:
    """Run `work` with a SQLAlchemy connection to `dsn`, in one transaction."""

    async def connect() -> Any:
        return await connect_alone(dsn, _CONNECT_SECONDS)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _compare(connection: Connection) -> list[Any]:
    return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))
