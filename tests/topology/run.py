"""`make topology-test`: starts each topology of deploy/topologies as processes, checks it, shows the demonstration.

Prints what it did with its time; ends with 1 when one of them failed. Arguments name some of the five.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(sys.executable).parent / "posthorn"
NAMES = ("service-specific", "geographic", "weighted", "paired", "unified")


def run(*words: str) -> str:
    """One command. Raises subprocess.CalledProcessError."""
    done = subprocess.run(
        [str(PROGRAM), *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, words, done.stdout[-6000:])
    return done.stdout


def shown(name: str) -> str:
    """Start, check, show, stop; returns what there is to tell."""
    description = f"deploy/topologies/{name}"
    with tempfile.TemporaryDirectory(prefix=f"posthorn-{name}-") as folder:
        Path(folder).chmod(0o711)
        data = ("--data", f"{folder}/data")
        begun = time.monotonic()
        try:
            run("up", "--detach", "--topology", f"{description}/topology.toml", "--patience", "600", *data)
            started = time.monotonic() - begun
            run("topology", "check", description, *data)
            steps = run("demo", *data).splitlines()[-1]
        finally:
            run("stop", *data)
    return f"ready after {started:.1f} s; {steps}"


def main() -> int:
    """All topologies that were asked for."""
    code = 0
    for name in sys.argv[1:] or NAMES:
        try:
            print(f"{name}: {shown(name)}", flush=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"{name}: {error}\n{error.output or ''}", flush=True)
            code = 1
    return code


if __name__ == "__main__":
    os.environ.pop("POSTHORN_CONFIG", None)
    sys.exit(main())
