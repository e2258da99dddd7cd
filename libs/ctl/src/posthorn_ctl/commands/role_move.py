"""`posthorn role move`: asks the holder of a role to hand it over to a node of one's choice."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run
from posthorn_ctl.commands.role_list import shares_of

if TYPE_CHECKING:
    from posthorn_storage import Storage

EPILOG = (
    "Example: posthorn role move purge.accounts/1 --to 3   |   Undo: posthorn role move purge.accounts/1 --anywhere"
)


def move(
    role: Annotated[str, typer.Argument(help="The role, with its share where it has several: purge.accounts/1.")],
    *,
    to: Annotated[int | None, typer.Option("--to", min=1, help="The node that shall hold it.")] = None,
    anywhere: Annotated[bool, typer.Option("--anywhere", help="Forget an earlier move.")] = False,
    wait: Annotated[float, typer.Option("--wait", min=0, max=600, help="Seconds to wait until it has moved.")] = 20.0,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Move a role to another node, which keeps it as long as it lives.

    The holder finishes its step and hands over. Exit code 1: it has not moved within --wait; it still may.
    """
    if (to is None) == (not anywhere):
        raise ClusterError("say either --to NODE or --anywhere", code=2)
    found = run(Door(data, dsn, config), lambda storage: _move(storage, role.removeprefix("role/"), to, wait))
    print(json.dumps(found) if as_json else _line(found))
    if not found["moved"]:
        raise typer.Exit(1)


async def _move(storage: Storage, role: str, to: int | None, wait: float) -> dict[str, Any]:
    from posthorn_model.ids import NodeId

    shares = await shares_of(storage)
    key = f"role/{role}"
    if key not in shares:
        raise ClusterError(_unknown(role, shares), code=2)
    if to is not None and to not in shares[key]:
        able = ", ".join(map(str, shares[key])) or "none that lives"
        raise ClusterError(f"node {to} may not hold {role}, or runs no maintenance now; nodes that may: {able}", code=2)
    await storage.roles.wish(key, None if to is None else NodeId(to))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    while True:
        tenure = next((each for each in await storage.roles.tenures() if each.key == key and each.live), None)
        moved = to is None or (tenure is not None and tenure.node == to)
        if moved or loop.time() >= deadline:
            return {
                "role": role,
                "wished": to,
                "moved": moved,
                "node": None if tenure is None else tenure.node,
                "epoch": 0 if tenure is None else tenure.epoch,
            }
        await asyncio.sleep(0.1)


def _unknown(role: str, shares: dict[str, list[int]]) -> str:
    names = sorted(key.removeprefix("role/") for key in shares)
    if not names:
        return "no node runs the service maintenance now: there are no roles to move"
    return f"there is no role {role}; the roles are {', '.join(names)}"


def _line(found: dict[str, Any]) -> str:
    holder = "nobody holds it now" if found["node"] is None else f"node {found['node']} holds it"
    if found["wished"] is None:
        return f"{found['role']} is elected again; {holder}"
    if found["moved"]:
        return f"{found['role']} is held by node {found['node']}, epoch {found['epoch']}"
    return f"{found['role']} has not moved to node {found['wished']} yet: {holder}"
