"""`make faults`: the great run, as long as wished, printing what it does and finds.

make faults ARGS="--minutes 10"
make faults ARGS="--minutes 3 --bus peer-to-peer --seed 7"
make faults ARGS="--minutes 3 --upgrade-from v1.0"
"""

import argparse
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.great import GreatRun

from posthorn_ctl.embedded.errors import PartError
from posthorn_testkit.instances import instances


@contextmanager
def former(revision: str | None) -> Iterator[Path | None]:
    """The tree of another revision of this repository, while the block runs; None without one. Raises PartError."""
    if revision is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", revision, "libs", "services"], capture_output=True, check=False)
        if archive.returncode:
            raise PartError(f"--upgrade-from {revision}: {archive.stderr.decode().strip()}")
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def main() -> int:
    """Exit code 0: nothing was lost; 1: something was; 3: a part it needs is missing."""
    parser = argparse.ArgumentParser(prog="make faults", description="Make a cluster suffer, and judge what it lost.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--each", type=int, default=3, help="instances of each service")
    parser.add_argument("--bus", choices=("kafka", "peer-to-peer"), default="kafka")
    parser.add_argument("--scaled", default="imap", help="the service that goes 1, 6, 1")
    parser.add_argument(
        "--upgrade-from", metavar="REVISION", help="begin with the code of that revision of this repository"
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    asked = parser.parse_args()
    begun = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - begun:7.1f} s  {line}", flush=True)

    try:
        with former(asked.upgrade_from) as code, instances(with_kafka=asked.bus == "kafka") as cluster:
            cluster.code = code
            GreatRun(cluster, asked.seed, each=asked.each, say=say).run(60 * asked.minutes, scaled=asked.scaled)
    except PartError as error:
        print(f"make faults: {error}", file=sys.stderr)
        return 3
    except AssertionError as wrong:
        say(f"WRONG: {wrong}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
