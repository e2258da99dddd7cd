"""The order of files when processes share the tests: long ones first, so that none is begun when others are done.

How long a file takes is told by what its tests say of themselves: a time limit of their own, or that they start a whole
cluster or a broker. Tests that start a whole cluster, some fifteen programs, all fall to one of the processes, and so
come one after another: several clusters that start at once take minutes, and what they are asked meanwhile times out.
"""

from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

CLUSTER = "cluster"
"""The mark of what comes one after another."""
STARTED = (CLUSTER, "kafka")
"""Marks of tests that start processes which take their time."""
STARTED_SECONDS = 60.0


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # it says no types
    """File by file, all those with a test that starts a whole cluster as if they were one file."""

    def remove_node(self, node: WorkerController) -> str | None:
        """Give what the process had left to the others, but not the test that ended it, as xdist does: it has failed,
        and what hung until its time was over would hang in each of them.
        """
        units = self.assigned_work.pop(node)
        left: list[tuple[dict[str, bool], str]] = [
            (unit, test) for unit in units.values() for test, done in unit.items() if not done
        ]
        if not left:
            return None
        unit, crashed = left[0]
        unit[crashed] = True
        self.workqueue.update({scope: unit for scope, unit in units.items() if not all(unit.values())})
        for other in self.assigned_work:
            self._reschedule(other)
        return crashed

    def _split_scope(self, nodeid: str) -> str:
        path = super()._split_scope(nodeid)
        return CLUSTER if starts_clusters(self.config.rootpath / path) else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Ours where files are shared out (`--dist loadfile`)."""
    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@cache
def starts_clusters(path: Path) -> bool:
    """Whether the file has the mark in its text: the process that shares files out imports none of them."""
    return f"mark.{CLUSTER}".encode() in path.read_bytes()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort by files, in a process that xdist hands tests to; alone, the order stays as it is."""
    if not hasattr(config, "workerinput"):
        return
    limits: defaultdict[Path, float] = defaultdict(float)
    for item in items:
        limits[item.path] += limit(item)
    # What takes in the whole system is long even where it does not say so.
    whole = config.rootpath / "tests"
    items.sort(
        key=lambda item: (not starts_clusters(item.path), -limits[item.path], not item.path.is_relative_to(whole))
    )


def limit(item: pytest.Item) -> float:
    """Seconds that a test may take when that is more than usual, else 0."""
    own = item.get_closest_marker("timeout")
    if own is not None:
        return float(own.args[0] if own.args else own.kwargs["timeout"])
    return STARTED_SECONDS if any(item.get_closest_marker(mark) for mark in STARTED) else 0.0
