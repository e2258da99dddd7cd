"""`posthorn account add`: one account, or many from a file."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, advised, run
from posthorn_ctl.commands.password_choice import PasswordOption, chosen
from posthorn_model.errors import AccountNotFound, AlreadyExists, InvalidAddress, PosthornError

if TYPE_CHECKING:
    from posthorn_storage import AccountRecord, Storage

EPILOG = "Example: posthorn account add cat@example.org   |   Many: posthorn account add --from accounts.txt"
BATCH = 100
AHEAD = 2
MAX_LINES = 1_000_000


def add(
    address: Annotated[str | None, typer.Argument(help="NAME@DOMAIN", show_default=False)] = None,
    *,
    password: PasswordOption = None,
    name: Annotated[str, typer.Option(help="Display name.")] = "",
    quota: Annotated[int | None, typer.Option(min=0, help="Bytes the account may hold; default: no limit.")] = None,
    region: Annotated[
        str | None,
        typer.Option(help="Where it must live for good; default: what storage.residency says of its address."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="File of `address password` lines; - is standard input.")
    ] = None,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave accounts alone that exist.")] = False,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Add an account with its default mailboxes, calendar and address book; or many with --from."""
    door = Door(data, dsn, config)
    if (address is None) == (source is None):
        raise ClusterError("say NAME@DOMAIN, or --from FILE for many", code=2)
    if source is not None:
        pairs = read_pairs(source)
        added = run(door, lambda storage: add_many(storage, pairs, skip_existing=skip_existing, region=region))
        if as_json:
            print(json.dumps({"added": added, "skipped": len(pairs) - added}))
        else:
            print(f"{added} accounts added" + (f", {len(pairs) - added} existed" if added < len(pairs) else ""))
        return
    assert address is not None
    secret, made_up = chosen(password, address)

    async def add_one(storage: Storage) -> AccountRecord:
        return await storage.directory.add_account(address, secret, name, quota, region=region)

    try:
        record = run(door, add_one)
    except ClusterError as error:
        if not isinstance(error.__cause__, AlreadyExists):
            raise
        if not skip_existing:
            advice = "`posthorn account passwd` gives it another password"
            raise ClusterError(f"{address} exists already: {advice}") from None
        print(json.dumps({"added": 0, "skipped": 1}) if as_json else f"{address} exists already")
        return
    pinned = {"region": record.region} if record.region else {}
    shown = {"address": record.address, "id": record.id} | pinned | ({"password": secret} if made_up else {})
    print(json.dumps(shown) if as_json else f"{record.address} added" + (f", password {secret}" if made_up else ""))


def read_pairs(source: str) -> list[tuple[str, str]]:
    """The (address, password) lines of a file. Raises ClusterError naming the first bad line."""
    try:
        if source == "-":
            return _pairs(sys.stdin, "standard input")
        with Path(source).open(encoding="utf-8") as file:
            return _pairs(file, source)
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(f"--from {source}: cannot be read: {error}", code=2) from None


def _pairs(lines: Iterable[str], source: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip("\r\n")
        if not text.strip() or text.startswith("#"):
            continue
        address, _, password = text.strip().partition(" ")
        if "\t" in address:
            address, _, password = text.strip().partition("\t")
        if not password.strip():
            raise ClusterError(f"{source}, line {number}: no password: write `address password`", code=2)
        found.append((address, password.strip()))
        if len(found) > MAX_LINES:
            raise ClusterError(f"{source}: more than {MAX_LINES} accounts: split the file", code=2)
    if not found:
        raise ClusterError(f"{source}: holds no `address password` line", code=2)
    return found


async def add_many(
    storage: Storage, pairs: Sequence[tuple[str, str]], *, skip_existing: bool, region: str | None = None
) -> int:
    """Add in batches, each all or none; returns how many were added. Raises ClusterError naming who is in the way.

    While one batch is written the next one's passwords are hashed: the hashing is nearly all of the time.
    """
    added = 0
    batches = [list(pairs[start : start + BATCH]) for start in range(0, len(pairs), BATCH)]
    running: deque[tuple[list[tuple[str, str]], asyncio.Task[int]]] = deque()
    try:
        while batches or running:
            while batches and len(running) < AHEAD:
                batch = batches.pop(0)
                adding = _add_batch(storage, batch, skip_existing=skip_existing, region=region)
                running.append((batch, asyncio.create_task(adding)))
            batch, task = running.popleft()
            try:
                added += await task
            except PosthornError as error:
                batches.clear()
                more = await asyncio.gather(*(each for _, each in running), return_exceptions=True)
                running.clear()
                added += sum(count for count in more if isinstance(count, int))
                others = f" ({added} accounts of other batches were added)" if added else ""
                raise ClusterError(f"{await _reason(storage, batch, error)}{others}") from error
    finally:
        for _, task in running:
            task.cancel()
    return added


async def _add_batch(storage: Storage, batch: list[tuple[str, str]], *, skip_existing: bool, region: str | None) -> int:
    if skip_existing:
        there = set(await _existing(storage, [address for address, _ in batch]))
        batch = [(address, password) for address, password in batch if address not in there]
    return len(await storage.directory.add_accounts(batch, region=region))


async def _reason(storage: Storage, batch: Sequence[tuple[str, str]], error: PosthornError) -> str:
    addresses = [address for address, _ in batch]
    if isinstance(error, AlreadyExists):
        there = await _existing(storage, addresses)
        named = ", ".join(there[:3]) + (f" and {len(there) - 3} more" if len(there) > 3 else "")
        if there:
            return f"these exist already: {named}: nothing of their batch was added; --skip-existing leaves them alone"
    if isinstance(error, InvalidAddress):
        for address in addresses:
            if "@" not in address.strip("@"):
                return f"{address}: {error.public}"
    return advised(error)


async def _existing(storage: Storage, addresses: Sequence[str]) -> list[str]:
    found = []
    for address in addresses:
        try:
            await storage.directory.find_account(address)
        except AccountNotFound:
            continue
        found.append(address)
    return found
