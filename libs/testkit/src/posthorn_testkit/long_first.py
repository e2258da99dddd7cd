"""The order of files when processes share the tests: long ones first, so that none is begun when others are done.

How long a file takes is told by what its tests say of themselves: a time limit of their own, or that they start a whole
cluster or a broker.
"""

from collections import defaultdict

import pytest

STARTED = ("cluster", "kafka")
"""Marks of tests that start processes which take their time."""
STARTED_SECONDS = 60.0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort by files, in a process that xdist hands tests to; alone, the order stays as it is."""
    if not hasattr(config, "workerinput"):
        return
    limits: defaultdict[str, float] = defaultdict(float)
    for item in items:
        limits[str(item.path)] += limit(item)
    # What takes in the whole system is long even where it does not say so.
    whole = str(config.rootpath / "tests") + "/"
    items.sort(key=lambda item: (-limits[str(item.path)], not str(item.path).startswith(whole)))


def limit(item: pytest.Item) -> float:
    """Seconds that a test may take when that is more than usual, else 0."""
    own = item.get_closest_marker("timeout")
    if own is not None:
        return float(own.args[0] if own.args else own.kwargs["timeout"])
    return STARTED_SECONDS if any(item.get_closest_marker(mark) for mark in STARTED) else 0.0
