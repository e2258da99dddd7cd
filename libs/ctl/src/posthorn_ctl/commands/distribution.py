"""What the commands for groups, forwards and lists share: pages of them, and how one is shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posthorn_storage import Storage
    from posthorn_storage.directory.distributions import Distribution, Kind

PAGE = 100


async def pages(storage: Storage, kind: Kind) -> list[Distribution]:
    """All of a kind, by address."""
    found: list[Distribution] = []
    while page := await storage.distributions.all(kind, found[-1].address if found else "", PAGE):
        found += page
    return found


def as_value(each: Distribution) -> dict[str, Any]:
    """One as JSON has it."""
    more = {"name": each.name, "owner": each.owner, "posting": each.posting} if each.kind == "list" else {}
    return {"address": each.address, "members": list(each.members)} | more


def show(each: Distribution, *, as_json: bool) -> None:
    """Print one."""
    print(json.dumps(as_value(each)) if as_json else f"{each.address}  {', '.join(each.members)}")


def show_all(found: list[Distribution], *, as_json: bool) -> None:
    """Print all."""
    if as_json:
        print(json.dumps([as_value(each) for each in found]))
        return
    for each in found:
        show(each, as_json=False)


async def taken_out(storage: Storage, kind: Kind, address: str, members: list[str]) -> int:
    """Remove members, or with none named the whole; returns how many members were removed, 0 for the whole."""
    if members:
        return await storage.distributions.remove_members(address, members)
    await storage.distributions.remove(kind, address)
    return 0
