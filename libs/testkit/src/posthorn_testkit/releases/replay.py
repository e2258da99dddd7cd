"""Replaying a recording on another schema: each statement must still be understood, and answer as it did.

New columns in an answer are no difference (the old code asks a row by name), nor is the order of rows that a statement
does not ask for.
"""

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from posthorn_testkit.releases.recording import described, encoded

SLACK_SECONDS = 900
"""How much longer or shorter ago a time of the database's clock may be than in the recording."""
MAX_DIFFERENCES = 20
OWN_VERSION = "alembic_version"
"""A statement about the schema's own version answers something else on another schema, as it should."""
_ORDERED = re.compile(r"ORDER BY [^()]*$")


@dataclass(frozen=True, slots=True)
class Session:
    """A recording that was read: statements as they were described, and calls in order."""

    schema: str
    statements: Sequence[dict[str, Any]]
    calls: Sequence[dict[str, Any]]


def load(path: Path) -> Session:
    """Read what recording.save wrote."""
    first, *lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return Session(
        first["schema"], [line for line in lines if "sql" in line], [line for line in lines if "call" in line]
    )


async def prepare_all(dsn: str, session: Session) -> list[str]:
    """What differs when every statement is prepared on the database at `dsn`."""
    connection = await asyncpg.connect(dsn)
    found: list[str] = []
    try:
        for before in session.statements:
            if "parameters" not in before:
                continue
            after = await described(connection, before["sql"])
            if after is None:
                found.append(f"no longer understood: {_short(before['sql'])}")
            elif after["parameters"] != before["parameters"]:
                found.append(f"parameters are now {after['parameters']}: {_short(before['sql'])}")
            elif missing := [column for column in before["columns"] if column not in after["columns"]]:
                found.append(f"columns that are gone or of another type, {missing}: {_short(before['sql'])}")
    finally:
        await connection.close()
    return found


async def replay(dsn: str, session: Session) -> list[str]:
    """What differs when all calls are repeated, each on its connection, on the empty database at `dsn`."""
    started = datetime.now(UTC)
    connections: dict[int, Any] = {}
    found: list[str] = []
    try:
        for call in session.calls:
            if call["on"] not in connections:
                connections[call["on"]] = await asyncpg.connect(dsn, server_settings={"timezone": "UTC", "jit": "off"})
            sql = session.statements[call["statement"]]["sql"]
            if OWN_VERSION in sql:
                continue
            answer = await _answer(connections[call["on"]], call, sql, started)
            wanted = {name: call[name] for name in ("answer", "error") if name in call}
            if not _same(wanted, answer, ordered=bool(_ORDERED.search(sql))):
                found.append(f"step {call['step']}: {_short(sql)}\n  then: {_cut(wanted)}\n  now:  {_cut(answer)}")
            if len(found) >= MAX_DIFFERENCES:
                break
    finally:
        for connection in connections.values():
            await connection.close()
    return found


async def _answer(connection: Any, call: dict[str, Any], sql: str, started: datetime) -> dict[str, Any]:
    arguments = [_decoded(argument, started) for argument in call["arguments"]]
    try:
        answer = await getattr(connection, call["call"])(sql, *arguments)
    except asyncpg.PostgresError as error:
        return {"error": error.sqlstate}
    return {"answer": encoded(answer, started)}


def _decoded(value: Any, started: datetime) -> Any:
    if isinstance(value, list):
        return [_decoded(one, started) for one in value]
    if not isinstance(value, dict):
        return value
    ((letter, content),) = value.items()
    if letter == "r":
        return tuple(_decoded(one, started) for _, one in content)
    decode: dict[str, Callable[[Any], Any]] = {
        "b": base64.b64decode,
        "t": datetime.fromisoformat,
        "~": lambda seconds: started + timedelta(seconds=seconds),
        "u": UUID,
        "n": Decimal,
    }
    return decode[letter](content)


def _same(before: Any, after: Any, *, ordered: bool) -> bool:
    if isinstance(before, dict) and isinstance(after, dict):
        if "r" in before and "r" in after:
            now = dict(after["r"])
            return all(name in now and _same(value, now[name], ordered=True) for name, value in before["r"])
        if "~" in before and "~" in after:
            return bool(abs(before["~"] - after["~"]) <= SLACK_SECONDS)
        return before.keys() == after.keys() and all(
            _same(value, after[name], ordered=ordered) for name, value in before.items()
        )
    if isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            return False
        if not ordered:
            before, after = _settled(before), _settled(after)
        return all(_same(one, other, ordered=True) for one, other in zip(before, after, strict=True))
    return bool(before == after)


def _settled(rows: list[Any]) -> list[Any]:
    """Rows in an order of their own: by what does not move with the clock, and without columns that are new."""
    return sorted(rows, key=lambda row: re.sub(r'\{"~": -?\d+\}', "~", json.dumps(row)))


def _short(sql: str) -> str:
    return " ".join(sql.split())[:200]


def _cut(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:600]
