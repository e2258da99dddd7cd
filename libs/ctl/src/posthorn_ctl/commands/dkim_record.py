"""`posthorn dkim record`: the TXT records that publish keys, to be put into DNS."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage
    from posthorn_storage.dkim import DkimKey

EPILOG = "Example: posthorn dkim record example.org --config node.toml"
STRING_OCTETS = 255
"""Most of one string of a TXT record (RFC 1035 3.3.14); who reads it puts them together (RFC 6376 3.6.2.2)."""


def record(
    domain: Annotated[str, typer.Argument(help="The domain whose mail is signed.")],
    selector: Annotated[str | None, typer.Argument(help="Of one key only.")] = None,
    *,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Print the records that must be in DNS, as lines of a zone file; those of removed keys may go."""
    found = run(Door(data, dsn, config), lambda storage: _wanted(storage, domain, selector))
    print(json.dumps(found) if as_json else "\n".join(each["line"] for each in found))


async def _wanted(storage: Storage, domain: str, selector: str | None) -> list[dict[str, Any]]:
    from posthorn_storage.directory.addresses import domain_key

    name = domain_key(domain)
    keys = [key for key in await storage.dkim.of([name]) if key.state != "removed" and selector in (None, key.selector)]
    if not keys:
        which = f"no key {selector}" if selector else "no DKIM key: `posthorn dkim add` makes one"
        raise ClusterError(f"{name} has {which}")
    return [described(key) for key in keys]


def described(key: DkimKey) -> dict[str, Any]:
    """The record of a key, in parts and as a line of a zone file."""
    text = key.record_text
    strings = [text[at : at + STRING_OCTETS] for at in range(0, len(text), STRING_OCTETS)]
    quoted = " ".join(f'"{each}"' for each in strings)
    line = f"{key.record_name}. IN TXT {f'( {quoted} )' if len(strings) > 1 else quoted}"
    return {"selector": key.selector, "name": key.record_name, "type": "TXT", "text": text, "line": line}
