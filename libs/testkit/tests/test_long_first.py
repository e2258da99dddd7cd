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


def test_a_test_that_ends_its_process_is_not_repeated(pytester: pytest.Pytester) -> None:
    """It fails once; the tests that its process had before it are left, and those after it run."""
    ending = "import os\ndef test_1(): ...\ndef test_2():\n    os._exit(1)\ndef test_3(): ...\ndef test_4(): ..."
    pytester.makepyfile(test_a=ending, test_b="def test_5(): ...\ndef test_6(): ...")
    pytester.makeini(CONFIG)
    made = pytester.runpytest_subprocess(
        "-v", "-p", "posthorn_testkit.long_first", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"
    )
    made.assert_outcomes(passed=5, failed=1)
    made.stdout.fnmatch_lines(["FAILED test_a.py::test_2 - worker * crashed*"])
