"""`posthorn check`: proves that what databases and blob stores hold is consistent, and repairs it when asked to."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands.check_report import Report
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage
    from posthorn_storage.check import Check, Step

EPILOG = "Example: posthorn check   |   One account: posthorn check ann@example.org   |   posthorn check --repair"


def check(
    address: Annotated[str | None, typer.Argument(help="Only this account.", show_default=False)] = None,
    *,
    shard: Annotated[str | None, typer.Option("--shard", help="Only the accounts of this shard, by its name.")] = None,
    content: Annotated[bool, typer.Option("--content", help="Read every blob and compare it with its hash.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Put right what can be put right; asks first.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Repair without asking.")] = False,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Check counts, UIDs, change numbers, threads, the queue and blobs; may run at any time.

    It changes nothing without --repair. A repair locks one account at a time and never removes a message; what it
    cannot put right is shown with advice. Exit code 0: all is well; 1: something is wrong, or was and could not be
    repaired. With --dsn, blobs outside of the database are not looked for.
    """
    door = Door(data, dsn, config)
    if repair and as_json and not yes:
        raise ClusterError("with --json a repair cannot ask: add --yes", code=2)
    look = _Look(address, shard, content=content, blobs=dsn is None)
    report = run(door, lambda storage: look.at(storage, Report.of_stderr(quiet=as_json)))
    repaired: dict[str, int] = {}
    if repair and report.findings:
        if not as_json:
            print(report.text(sys.stdout))
        if yes or typer.confirm("Repair what can be repaired?"):
            repaired = run(door, lambda storage: _repair(storage, report))
            report = run(door, lambda storage: look.at(storage, Report.of_stderr(quiet=as_json)))
    report.repaired = repaired
    print(json.dumps(report.value()) if as_json else report.text(sys.stdout))
    raise typer.Exit(1 if report.findings else 0)


@dataclass(frozen=True, slots=True)
class _Look:
    """What to look at."""

    address: str | None
    shard: str | None
    content: bool = field(kw_only=True)
    blobs: bool = field(kw_only=True)

    async def at(self, storage: Storage, report: Report) -> Report:
        """Look at all of it."""
        with report:
            if self.address is not None:
                account = (await storage.directory.find_account(self.address)).id
                name = (await storage.shards.of(account)).name
                report.take(name, "accounts", await storage.checks[name].account(account))
                return report
            for name, check in _chosen(storage, self.shard).items():
                await self._at_all(name, check, report)
        return report

    async def _at_all(self, name: str, check: Check, report: Report) -> None:
        accounts, blobs = await check.count(content=self.content)
        report.expect("accounts", accounts)
        await _take(report, name, "accounts", check.accounts())
        report.take(name, "queue", await check.queue())
        await _take(report, name, "references", check.references())
        if self.blobs:
            report.expect("blobs", blobs)
            await _take(report, name, "blobs", check.blobs(content=self.content))


async def _take(report: Report, name: str, what: str, steps: AsyncIterator[Step]) -> None:
    async for step in steps:
        report.take(name, what, step)


def _chosen(storage: Storage, shard: str | None) -> dict[str, Check]:
    if shard is None:
        return dict(storage.checks)
    if shard not in storage.checks:
        raise ClusterError(f"there is no shard {shard}; there are: {', '.join(storage.checks)}", code=2)
    return {shard: storage.checks[shard]}


async def _repair(storage: Storage, report: Report) -> dict[str, int]:
    """Repair the accounts in which something was found, and what is shared; how many things, by rule."""
    from posthorn_model.errors import AccountNotFound

    done: Counter[str] = Counter()
    for name, accounts in report.accounts().items():
        check = storage.checks[name]
        for account in accounts:
            with suppress(AccountNotFound):  # removed meanwhile, or nobody's rows: people must decide
                done.update(await check.repair(account))
        if name in report.with_shared_findings():
            done.update(await check.repair_shared())
    return dict(done)
