"""The number of a process among those of its service on its node."""

import subprocess
import sys
from pathlib import Path

import pytest

from posthorn_node.worker import KERNEL, Life, worker

HOLD = """
import sys
from pathlib import Path
from posthorn_node.worker import Life, worker
held = worker(Path(sys.argv[1]), 1, "imap")
held.sign(Life("b00t", "t0ken"))
print(held.number, flush=True)
sys.stdin.read()
"""


def test_processes_get_different_numbers_and_a_killed_ones_is_free_again(tmp_path: Path) -> None:
    first = worker(tmp_path, 1, "imap")
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        third = worker(tmp_path, 1, "imap")
        assert (first.number, third.number) == (0, 2)
        assert first.former is third.former is None
    finally:
        process.kill()
        process.wait()
    again = worker(tmp_path, 1, "imap")
    assert again.number == 1
    assert again.former == Life("b00t", "t0ken")
    assert "t0ken" not in repr(again)
    first.release()
    assert worker(tmp_path, 1, "imap").number == 0


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b"7", b'{"boot": 1, "token": 2}', b"\xff" * 5000])
def test_what_cannot_be_read_names_nobody(tmp_path: Path, said: bytes) -> None:
    worker(tmp_path, 1, "imap").release()
    (tmp_path / "workers" / "1-imap-0").write_bytes(said)
    held = worker(tmp_path, 1, "imap")
    assert (held.number, held.former) == (0, None)


def test_a_process_of_another_machine_is_not_called_dead(tmp_path: Path) -> None:
    """Its lock may not be seen here, though the folder is."""
    held = worker(tmp_path, 1, "imap")
    held.sign(Life("b00t", "t0ken"))
    held.release()
    place = tmp_path / "workers" / "1-imap-0"
    place.write_text(place.read_text().replace(KERNEL.read_text().strip(), "another"))
    assert worker(tmp_path, 1, "imap").former is None


def test_other_services_and_nodes_count_for_themselves(tmp_path: Path) -> None:
    held = [worker(tmp_path, node, service) for node, service in ((1, "imap"), (1, "jmap"), (2, "imap"))]
    assert [one.number for one in held] == [0, 0, 0]


def test_without_a_folder_every_process_has_number_0(tmp_path: Path) -> None:
    (tmp_path / "workers").write_text("no folder")
    assert [worker(tmp_path, 1, "imap").number for _ in range(2)] == [0, 0]
