"""Runs rows and reports them: median and spread of several runs, and the ratio to a bare reference of the same run.

Absolute figures of a shared machine drift; a ratio taken pair by pair in one run holds. The runner judges nothing.
"""

import json
import platform
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Measure = Callable[[], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured. `measure` and `reference` each give one figure in `unit`; they run in turn, pair by pair."""

    name: str
    unit: str
    higher_is_better: bool
    measure: Measure
    reference: Measure | None
    reference_name: str
    runs: int = 5
    note: str = ""
    others: Mapping[str, Measure] = field(default_factory=dict)
    """More references by name; they run in turn with the rest and are told of below the table."""


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of one row, in run order; `ratios` are measure / reference, pair by pair."""

    name: str
    unit: str
    higher_is_better: bool
    figures: list[float]
    reference_name: str
    reference: list[float]
    note: str
    ratios: list[float] = field(default_factory=list)
    others: dict[str, list[float]] = field(default_factory=dict)


async def run(row: Row, tell: Callable[[str], None]) -> Result:
    """Measure a row: one uncounted pair to warm up, then `runs` pairs."""
    figures: list[float] = []
    references: list[float] = []
    others: dict[str, list[float]] = {name: [] for name in row.others}
    for number in range(row.runs + 1):
        tell(f"{row.name}: {'warm-up' if number == 0 else f'run {number} of {row.runs}'}")
        figure = await row.measure()
        reference = await row.reference() if row.reference is not None else None
        if number:
            figures.append(figure)
            if reference is not None:
                references.append(reference)
        for name, other in row.others.items():
            figure = await other()
            if number:
                others[name].append(figure)
    ratios = [a / b for a, b in zip(figures, references, strict=False) if b]
    return Result(
        row.name, row.unit, row.higher_is_better, figures, row.reference_name, references, row.note, ratios, others
    )


def number(value: float) -> str:
    """A figure for people: three digits that matter."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(values: Sequence[float]) -> str:
    """Median, and minimum to maximum."""
    if not values:
        return "-"
    return f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))})"


def table(results: Sequence[Result]) -> str:
    """The table that `make bench` prints."""
    head = ("what", "figure: median (min to max)", "unit", "reference", "its figure", "ratio")
    rows = [
        (r.name, spread(r.figures), r.unit, r.reference_name or "-", spread(r.reference), spread(r.ratios))
        for r in results
    ]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
    lines.insert(1, "  ".join("-" * width for width in widths))
    notes = [f"{r.name}: {'; '.join(told)}" for r in results if (told := _told(r))]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _told(result: Result) -> list[str]:
    others = [f"{name} {spread(figures)}" for name, figures in result.others.items()]
    return [*([result.note] if result.note else []), *others]


def save(results: Sequence[Result], folder: Path) -> Path:
    """Write the results as JSON beside the table; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    machine: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}
    path.write_text(json.dumps({"machine": machine, "rows": [asdict(r) for r in results]}, indent=1) + "\n")
    return path
