"""Programs from packages, run with a fixed locale and an empty home so that nobody's own settings take part."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from posthorn_testkit.strict import missing

SECONDS = 90


def program(name: str) -> str:
    """The path of a program of this environment or of the system; without it the test is skipped, or fails."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        missing(f"{name} is not installed: .ci/parts installs it")
    return found


def run(name: str, *arguments: str, home: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it did, whatever its exit code; line ends stay as they are."""
    environ = {"HOME": str(home), "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [program(name), *arguments],
        input=None if text is None else text.encode(),
        capture_output=True,
        env=environ,
        cwd=home,
        timeout=SECONDS,
        check=False,
    )
    said = [stream.decode("utf-8", "backslashreplace") for stream in (done.stdout, done.stderr)]
    return subprocess.CompletedProcess(done.args, done.returncode, *said)


def output(name: str, *arguments: str, home: Path, text: str | None = None) -> str:
    """What a program wrote to its standard output. Raises AssertionError with all it said when it failed."""
    done = run(name, *arguments, home=home, text=text)
    assert done.returncode == 0, f"{name} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}"
    return done.stdout
