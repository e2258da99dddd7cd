"""`posthorn check`: proves that what the database and the blob store hold is consistent. It repairs nothing."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage
    from posthorn_storage.check import Finding, Step

EPILOG = "Example: posthorn check   |   One account: posthorn check ann@example.org"
SHOWN = 100
"""Findings that are shown to people; --json has all."""


def check(
    address: Annotated[str | None, typer.Argument(help="Only this account.", show_default=False)] = None,
    *,
    content: Annotated[bool, typer.Option("--content", help="Read every blob and compare it with its hash.")] = False,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Check counts, UIDs, change numbers, threads and blobs of all accounts; changes nothing, may run at any time.

    Exit code 0: all is well; 1: something is wrong. With --dsn, blobs outside of the database are not looked for.
    """
    door = Door(data, dsn, config)
    report = Report(quiet=as_json)

    async def look(storage: Storage) -> None:
        if address is not None:
            report.take("accounts", await storage.check.account((await storage.directory.find_account(address)).id))
            return
        await _look_at_all(storage, report, blobs=dsn is None, content=content)

    run(door, look)
    print(json.dumps(report.value()) if as_json else report.text())
    raise typer.Exit(1 if report.findings else 0)


async def _look_at_all(storage: Storage, report: Report, *, blobs: bool, content: bool) -> None:
    accounts, blob_count = await storage.check.count(content=content)
    report.expected = {"accounts": accounts} | ({"blobs": blob_count} if blobs else {})
    async for step in storage.check.accounts():
        report.take("accounts", step)
    report.take("queue", await storage.check.queue())
    if blobs:
        async for step in storage.check.blobs(content=content):
            report.take("blobs", step)


@dataclass(slots=True)
class Report:
    """What was looked at and found so far; tells its progress on stderr unless `quiet`."""

    quiet: bool
    expected: dict[str, int] = field(default_factory=dict)
    looked_at: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    _told: int = 0

    def take(self, what: str, step: Step) -> None:
        """Add one step's result."""
        self.looked_at[what] = self.looked_at.get(what, 0) + step.looked_at
        self.findings += step.findings
        total = self.expected.get(what)
        if total and not self.quiet:
            self._tell(what, total)

    def _tell(self, what: str, total: int) -> None:
        percent = min(100, 100 * self.looked_at[what] // total)
        if percent // 10 != self._told // 10:
            print(f"{what}: {self.looked_at[what]:,} of {total:,} ({percent} %)", file=sys.stderr)
        self._told = percent

    def value(self) -> dict[str, Any]:
        """The JSON answer."""
        return {
            "looked_at": self.looked_at,
            "findings": [{"rule": f.rule.name, "account": f.account, **f.where} for f in self.findings],
        }

    def text(self) -> str:
        """The answer for people."""
        seen = ", ".join(f"{count:,} {what}" for what, count in self.looked_at.items() if what != "queue")
        if not self.findings:
            return f"all is well: {seen} looked at"
        lines = [f"{len(self.findings)} findings; {seen} looked at"]
        for finding in self.findings[:SHOWN]:
            place = "" if finding.account is None else f"account {finding.account}: "
            where = ", ".join(f"{name} {value}" for name, value in finding.where.items())
            lines.append(f"  {finding.rule.name}: {place}{finding.rule.means}: {where}")
        if len(self.findings) > SHOWN:
            lines.append(f"  and {len(self.findings) - SHOWN} more: --json shows all")
        return "\n".join(lines)
