"""The README's commands, as a newcomer would type them, one after the other in one folder."""

import shlex
import subprocess
from pathlib import Path

import pytest
from tests.docs.documents import README, fenced

from posthorn_testkit.cluster import PROGRAM
from posthorn_testkit.programs import folder_of_server

TYPED = ".venv/bin/posthorn"
COMMANDS = [line for block in fenced(README, "sh") for line in block.splitlines() if line.startswith(TYPED)]
NOT_RUNNING = 3


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one command line of the README in `folder`, by the program beside this Python."""
    _, *arguments = shlex.split(line, comments=True)
    return subprocess.run(
        [str(PROGRAM), *arguments], cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )


def test_the_readme_starts_a_cluster_and_stops_it() -> None:
    verbs = [shlex.split(line)[1] for line in COMMANDS]
    assert verbs[0] == "up"
    assert verbs[-1] == "stop"


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_the_readmes_commands_work_in_their_order() -> None:
    with folder_of_server("readme") as folder:
        try:
            for line in COMMANDS:
                done = run(line, folder)
                assert done.returncode == 0, (
                    f"{line} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-6000:]}"
                )
            assert run(f"{TYPED} status", folder).returncode == NOT_RUNNING, "the last command has left it running"
        finally:
            run(f"{TYPED} stop", folder)
