"""`make imap-run`: ten clients at work on one account at three nodes, checked against a model; 0 deviations are wanted.

make imap-run ARGS="--minutes 10"
make imap-run ARGS="--minutes 2 --seed 7 --kill"
"""

import argparse
import secrets
import sys
import time

import uvloop
from tests.workload.run import Plan, play

from posthorn_ctl.embedded.errors import PartError
from posthorn_storage.migrate import migrate
from posthorn_testkit.databases import Databases
from posthorn_testkit.programs import folder_of_server
from posthorn_testkit.servers import postgres_server

BETWEEN_KILLS = 60.0


def main() -> int:
    """Exit code 0: no deviation; 1: one; 3: a part it needs is missing."""
    parser = argparse.ArgumentParser(prog="make imap-run", description="Random IMAP clients, checked against a model.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--kill", action="store_true", help="kill -9 for a node, about once a minute")
    asked = parser.parse_args()
    seconds, begun = 60 * asked.minutes, time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - begun:7.1f} s  {line}", flush=True)

    say(f"seed {asked.seed}")
    kills = max(1, int(seconds / BETWEEN_KILLS)) if asked.kill else 0
    try:
        with postgres_server() as server, folder_of_server("imap-run") as folder:
            databases = Databases(server, migrate)
            with databases.fresh() as dsn:
                truth = uvloop.run(play(dsn, folder, Plan(seconds, asked.seed, kills, say)))
            databases.close()
    except PartError as error:
        print(f"make imap-run: {error}", file=sys.stderr)
        return 3
    except AssertionError as wrong:
        say(f"WRONG: {wrong}")
        return 1
    for name, count in sorted(truth.counts.items()):
        say(f"{name}: {count}")
    say("deviations: 0")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
