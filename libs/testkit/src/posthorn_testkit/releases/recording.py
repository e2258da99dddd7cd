"""Recording: a connection that writes down each call with its arguments and what the database answered.

A recording is a list of JSON lines: statements (text, types of parameters and columns) and calls. It can be repeated on
an empty database because nothing in it depends on a clock or on chance: an argument that is a time of today is refused,
a result that is one is kept as its distance from the start.
"""

import base64
import functools
import importlib
import json
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import ModuleType
from typing import Any, ClassVar
from uuid import UUID

import asyncpg

NEAR = timedelta(days=7)
"""A time so close to the start of a recording comes from the database's clock."""
_STATEMENT = re.compile(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b")


class Recording:
    """What was recorded so far, in order."""

    def __init__(self) -> None:
        self.started = datetime.now(UTC)
        self.statements: dict[str, int] = {}
        self.calls: list[dict[str, Any]] = []
        self._connections: dict[int, int] = {}
        self._step = "start"

    def step(self, name: str) -> None:
        """Name what comes next, for whoever reads a difference."""
        self._step = name

    def add(self, connection: object, call: str, query: str, arguments: Sequence[Any], **answer: Any) -> None:
        """Write one call down."""
        number = self.statements.setdefault(query, len(self.statements))
        place = self._connections.setdefault(id(connection), len(self._connections))
        self.calls.append(
            {
                "step": self._step,
                "on": place,
                "call": call,
                "statement": number,
                "arguments": [self._argument(argument) for argument in arguments],
                **{name: encoded(value, self.started) for name, value in answer.items()},
            }
        )

    def _argument(self, value: Any) -> Any:
        found = encoded(value, self.started)
        if "~" in json.dumps(found):
            assert not _has_near(found), f"an argument in step {self._step} is a time of today: {value!r}"
        return found


def _has_near(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_near, value))
    return isinstance(value, dict) and "~" in value


def encoded(value: Any, started: datetime) -> Any:
    """A value of the driver's as JSON has it; what JSON has not is an object of one letter."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes | memoryview):
        return {"b": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        away = value - started
        return {"~": round(away.total_seconds())} if abs(away) < NEAR else {"t": value.isoformat()}
    if isinstance(value, UUID):
        return {"u": str(value)}
    if isinstance(value, Decimal):
        return {"n": str(value)}
    if isinstance(value, asyncpg.Record):
        return {"r": [[name, encoded(one, started)] for name, one in value.items()]}
    if isinstance(value, Sequence | AbstractSet):
        return [encoded(one, started) for one in value]
    if isinstance(value, Mapping | type({}.values())):
        return [encoded(one, started) for one in value]
    raise TypeError(f"cannot record a {type(value).__name__}")


class RecordingConnection(asyncpg.Connection):  # type: ignore[misc]
    """An asyncpg connection that tells `recording` of every call."""

    __slots__ = ()
    recording: ClassVar[Recording]

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """See asyncpg."""
        tag: str = await self._told("execute", query, args, super().execute(query, *args, timeout=timeout))
        return tag

    async def fetch(self, query: str, *args: Any, **more: Any) -> list[Any]:
        """See asyncpg."""
        rows: list[Any] = await self._told("fetch", query, args, super().fetch(query, *args, **more))
        return rows

    async def fetchrow(self, query: str, *args: Any, **more: Any) -> Any:
        """See asyncpg."""
        return await self._told("fetchrow", query, args, super().fetchrow(query, *args, **more))

    async def fetchval(self, query: str, *args: Any, **more: Any) -> Any:
        """See asyncpg."""
        return await self._told("fetchval", query, args, super().fetchval(query, *args, **more))

    async def executemany(self, command: str, args: Any, *, timeout: float | None = None) -> None:
        """See asyncpg."""
        rows = [list(row) for row in args]
        await self._told("executemany", command, [rows], super().executemany(command, rows, timeout=timeout))

    async def _told(self, call: str, query: str, arguments: Sequence[Any], work: Any) -> Any:
        try:
            answer = await work
        except asyncpg.PostgresError as error:
            self.recording.add(self, call, query, arguments, error=error.sqlstate)
            raise
        self.recording.add(self, call, query, arguments, answer=answer)
        return answer


@contextmanager
def recorded() -> Iterator[Recording]:
    """Every connection that asyncpg makes meanwhile, alone or in a pool, is recorded."""
    recording = Recording()
    kind = type("RecordingConnection", (RecordingConnection,), {"__slots__": (), "recording": recording})
    before: dict[str, Callable[..., Any]] = {name: getattr(asyncpg, name) for name in ("connect", "create_pool")}
    for name, make in before.items():
        setattr(asyncpg, name, functools.partial(make, connection_class=kind))
    try:
        yield recording
    finally:
        for name, make in before.items():
            setattr(asyncpg, name, make)


def constants(package: ModuleType) -> Iterator[str]:
    """Every string constant of a package's modules that looks like a statement."""
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if ".migrations" in found.name or found.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(found.name)).values():
            if isinstance(value, str) and _STATEMENT.match(value):
                yield value


async def described(connection: Any, statement: str) -> dict[str, Any] | None:
    """A statement with the types of its parameters and columns; None when the database does not know it."""
    try:
        prepared = await connection.prepare(statement)
    except asyncpg.PostgresError:
        return None
    return {
        "sql": statement,
        "parameters": [kind.name for kind in prepared.get_parameters()],
        "columns": [[column.name, column.type.name] for column in prepared.get_attributes()],
    }


async def text_of(recording: Recording, dsn: str, package: ModuleType, head: str) -> str:
    """A recording, with all other statements of `package`, as the schema at `dsn` (revision `head`) has them."""
    connection = await asyncpg.connect(dsn)
    try:
        lines: list[dict[str, Any]] = [{"schema": head}]
        for statement in recording.statements:
            lines.append(await described(connection, statement) or {"sql": statement})
        for statement in sorted(set(constants(package)) - set(recording.statements)):
            found = await described(connection, statement)
            if found is not None:
                lines.append(found)
    finally:
        await connection.close()
    text = (json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in [*lines, *recording.calls])
    return "\n".join(text) + "\n"
