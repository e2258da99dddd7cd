"""Files that take long are handed out before all others, and only where several processes share the tests."""

import re

import pytest

pytest_plugins = ["pytester"]

FILES = {
    "test_a": "def test_short(): ...",
    "test_b": "import pytest\n@pytest.mark.cluster\ndef test_started(): ...",
    "test_c": "import pytest\n@pytest.mark.timeout(100)\ndef test_long(): ...\ndef test_not(): ...",
}
CONFIG = "[pytest]\nmarkers =\n    cluster: x\n    kafka: x\n"


def ran(pytester: pytest.Pytester, *options: str) -> list[str]:
    """The tests in the order in which they ran."""
    pytester.makepyfile(**FILES)
    pytester.makeini(CONFIG)
    made = pytester.runpytest_subprocess("-v", "-p", "posthorn_testkit.long_first", *options)
    made.assert_outcomes(passed=4)
    return [found[1] for line in made.outlines if "PASSED" in line and (found := re.search(r"\.py::(\w+)", line))]


def test_alone_the_order_stays(pytester: pytest.Pytester) -> None:
    assert ran(pytester) == ["test_short", "test_started", "test_long", "test_not"]


def test_shared_out_clusters_and_then_long_files_come_first(pytester: pytest.Pytester) -> None:
    shared_out = ("-n", "1", "--dist", "loadfile", "--no-loadscope-reorder")
    assert ran(pytester, *shared_out) == ["test_started", "test_long", "test_not", "test_short"]


def test_clusters_come_one_after_another(pytester: pytest.Pytester) -> None:
    cluster = "import pytest\n@pytest.mark.cluster\ndef test_{}(): ..."
    pytester.makepyfile(**{f"test_{name}": cluster.format(name) for name in "abcdef"}, test_z="def test_z(): ...")
    pytester.makeini(CONFIG)
    made = pytester.runpytest_subprocess(
        "-v", "-p", "posthorn_testkit.long_first", "-n", "3", "--dist", "loadfile", "--no-loadscope-reorder"
    )
    made.assert_outcomes(passed=7)
    workers = {
        found[1] for line in made.outlines if "PASSED" in line and (found := re.search(r"\[(gw\d)\].*test_[a-f]", line))
    }
    assert len(workers) == 1
