"""Fresh databases on a real PostgreSQL: one migrated template per session, one copy of it per test."""

import asyncio
import itertools
import os
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

import asyncpg

Migrate = Callable[[str], Awaitable[None]]
"""Brings the database of a DSN to the newest schema."""


def with_database(dsn: str, name: str) -> str:
    """The same server and user, another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


def run_apart(work: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine to its end in a thread with a loop of its own, so that it meets no test's loop."""
    failure: list[BaseException] = []

    def target() -> None:
        async def main() -> None:
            await work()

        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            failure.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]


class Databases:
    """The databases of one test session on one server."""

    def __init__(self, superuser_dsn: str, migrate: Migrate) -> None:
        self.dsn = superuser_dsn
        self._migrate = migrate
        self._prefix = f"test_{os.getpid()}_{os.urandom(3).hex()}"
        self._numbers = itertools.count(1)
        self._template: str | None = None

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """The DSN of a migrated, empty database that is dropped afterwards."""
        name = f"{self._prefix}_{next(self._numbers)}"
        self._run([f'CREATE DATABASE "{name}" TEMPLATE "{self._made_template()}"'])
        try:
            yield with_database(self.dsn, name)
        finally:
            self._drop(name)

    @contextmanager
    def bare(self) -> Iterator[str]:
        """The DSN of a database without any schema that is dropped afterwards."""
        name = f"{self._prefix}_{next(self._numbers)}"
        self._run([f'CREATE DATABASE "{name}"'])
        try:
            yield with_database(self.dsn, name)
        finally:
            self._drop(name)

    def close(self) -> None:
        if self._template is not None:
            self._drop(self._template)

    def _made_template(self) -> str:
        if self._template is None:
            name = f"{self._prefix}_template"
            self._run([f'CREATE DATABASE "{name}"'])
            self._template = name
            run_apart(lambda: self._migrate(with_database(self.dsn, name)))
        return self._template

    def _drop(self, name: str) -> None:
        # A test may have stopped the server; then the session's end removes its folder, database and all.
        with suppress(OSError):
            self._run([f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'])

    def _run(self, statements: Sequence[str]) -> None:
        async def work() -> None:
            connection = await asyncpg.connect(self.dsn)
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        run_apart(work)
