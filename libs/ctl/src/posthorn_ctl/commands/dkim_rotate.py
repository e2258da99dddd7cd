"""`posthorn dkim rotate`: new keys in place of those that sign for a domain."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands.dkim_record import described
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage
    from posthorn_storage.dkim import DkimKey

EPILOG = "Example: posthorn dkim rotate example.org --config node.toml"


def rotate(
    domain: Annotated[str, typer.Argument(help="The domain whose mail is signed.")],
    *,
    data: DataChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Make a new key for each algorithm that signs, and print their records; the old ones sign until those are seen."""
    waiting = run(Door(data, None, config), lambda storage: _rotate(storage, domain))
    told = [described(key) for key in waiting]
    print(json.dumps(told) if as_json else "\n".join(each["line"] for each in told))


async def _rotate(storage: Storage, domain: str) -> list[DkimKey]:
    """The keys that wait then: one that waited before is not made twice."""
    from posthorn_storage.directory.addresses import domain_key
    from posthorn_storage.dkim import NewDkimKey, made

    name = domain_key(domain)
    keys = await storage.dkim.of([name])
    active = {key.algorithm for key in keys if key.state == "active"}
    waiting = [key for key in keys if key.state == "waiting"]
    if not active | {key.algorithm for key in waiting}:
        raise ClusterError(f"{name} has no DKIM key: `posthorn dkim add` makes one")
    for algorithm in sorted(active - {key.algorithm for key in waiting}):
        waiting.append(await storage.dkim.add(NewDkimKey(name, made(algorithm))))
    return waiting
