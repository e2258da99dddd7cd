"""What `posthorn check` tells: its progress while it looks, a table by rule with the first examples, or JSON."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from posthorn_model.ids import AccountId
    from posthorn_storage.check import Finding, Rule, Step

EXAMPLES = 3
"""Findings of a rule that are shown to people; --json has all."""


@dataclass(slots=True)
class Report:
    """What was looked at and found so far. `progress` shows how far it is, on a terminal; else lines tell it."""

    progress: Progress | None
    quiet: bool
    looked_at: dict[str, int] = field(default_factory=dict)
    findings: list[tuple[str, Finding]] = field(default_factory=list)
    """With the shard each was found in."""
    repaired: dict[str, int] = field(default_factory=dict)
    _expected: dict[str, int] = field(default_factory=dict)
    _tasks: dict[str, TaskID] = field(default_factory=dict)
    _told: int = 0

    @classmethod
    def of_stderr(cls, *, quiet: bool) -> Report:
        """One that tells its progress on stderr, unless `quiet`."""
        shown = not quiet and sys.stderr.isatty()
        return cls(Progress(console=Console(file=sys.stderr), transient=True) if shown else None, quiet)

    def __enter__(self) -> None:
        if self.progress is not None:
            self.progress.start()

    def __exit__(self, *_error: object) -> None:
        if self.progress is not None:
            self.progress.stop()

    def expect(self, what: str, count: int) -> None:
        """So many more are to be looked at."""
        self._expected[what] = self._expected.get(what, 0) + count
        if self.progress is not None:
            if what not in self._tasks:
                self._tasks[what] = self.progress.add_task(what)
            self.progress.update(self._tasks[what], total=self._expected[what])

    def take(self, shard: str, what: str, step: Step) -> None:
        """Add one step's result."""
        self.looked_at[what] = self.looked_at.get(what, 0) + step.looked_at
        self.findings += [(shard, finding) for finding in step.findings]
        total = self._expected.get(what)
        if total and self.progress is not None:
            self.progress.update(self._tasks[what], completed=self.looked_at[what])
        elif total and not self.quiet:
            self._tell(what, total)

    def _tell(self, what: str, total: int) -> None:
        percent = min(100, 100 * self.looked_at[what] // total)
        if percent // 10 != self._told // 10:
            print(f"{what}: {self.looked_at[what]:,} of {total:,} ({percent} %)", file=sys.stderr)
        self._told = percent

    def accounts(self) -> dict[str, list[AccountId]]:
        """The accounts in which something was found, by shard."""
        found: dict[str, list[AccountId]] = {}
        for shard, finding in self.findings:
            accounts = found.setdefault(shard, [])
            if finding.account is not None and finding.account not in accounts:
                accounts.append(finding.account)
        return found

    def with_shared_findings(self) -> set[str]:
        """Shards in which something was found that is no account's alone."""
        return {shard for shard, finding in self.findings if finding.account is None}

    def value(self) -> dict[str, Any]:
        """The JSON answer."""
        return {
            "looked_at": self.looked_at,
            "findings": [
                {"rule": f.rule.name, "shard": shard, "account": f.account, **_plain(f)} for shard, f in self.findings
            ],
            "repaired": self.repaired,
        }

    def text(self, to: TextIO) -> str:
        """The answer for people, in colour when `to` is a terminal."""
        counted = {what: count for what, count in self.looked_at.items() if what in ("accounts", "blobs")}
        seen = ", ".join(f"{count:,} {what}" for what, count in counted.items())
        lines = [f"repaired: {count:,} {name}" for name, count in self.repaired.items()]
        if not self.findings:
            return "\n".join([*lines, f"all is well: {seen} looked at"])
        return "\n".join([*lines, f"{len(self.findings)} findings; {seen} looked at", self._table(to)])

    def _table(self, to: TextIO) -> str:
        table = Table("rule", "found", "what it means, and where", show_lines=True)
        by_rule: dict[str, list[tuple[str, Finding]]] = {}
        for shard, finding in self.findings:
            by_rule.setdefault(finding.rule.name, []).append((shard, finding))
        for name, found in by_rule.items():
            rule = found[0][1].rule
            text = "\n".join([rule.means, *self._examples(found), *_advice(rule)])
            table.add_row(name, f"{len(found):,}", Text(text))
        console = Console(file=io.StringIO(), width=None if to.isatty() else 200, force_terminal=to.isatty())
        with console.capture() as captured:
            console.print(table)
        return captured.get().rstrip()

    def _examples(self, found: list[tuple[str, Finding]]) -> list[str]:
        lines = []
        for shard, finding in found[:EXAMPLES]:
            place = [f"shard {shard}"] if len({name for name, _ in self.findings}) > 1 else []
            place += [] if finding.account is None else [f"account {finding.account}"]
            lines.append("  " + ", ".join([*place, *(f"{key} {value}" for key, value in finding.where.items())]))
        if len(found) > EXAMPLES:
            lines.append(f"  and {len(found) - EXAMPLES:,} more: --json shows all")
        return lines


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        name: value if value is None or isinstance(value, int | float | str) else str(value)
        for name, value in finding.where.items()
    }


def _advice(rule: Rule) -> list[str]:
    return [f"If --repair does not help: {rule.advice}."] if rule.advice else []
