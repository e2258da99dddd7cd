"""`make bench`: runs the rows and prints their table; the JSON goes to bench/results/."""

import argparse
import asyncio
import shutil
import sys
from pathlib import Path

from bench import runner
from bench.cluster import running
from bench.rows import bus, imap_fetch, mime, notice, smtp_in, start_up

RESULTS = Path(__file__).parent / "results"
GROUPS = ("smtp", "imap", "bus", "notice", "start", "mime")


async def measure(groups: list[str]) -> list[runner.Result]:
    """The results of the groups' rows."""

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    results = []
    if set(groups) & {"smtp", "imap", "bus"}:
        tell("starting a cluster")
        async with running() as cluster:
            rows = [
                *(smtp_in.rows(cluster) if "smtp" in groups else ()),
                *(imap_fetch.rows(cluster) if "imap" in groups else ()),
                *(bus.rows(cluster) if "bus" in groups else ()),
            ]
            results += [await runner.run(row, tell) for row in rows]
    if "notice" in groups:
        tell("starting a cluster of two nodes")
        async with running("--nodes", "2") as cluster:
            results += [await runner.run(row, tell) for row in notice.rows(cluster)]
    if "mime" in groups:
        results += [await runner.run(row, tell) for row in mime.rows()]
    if "start" in groups:
        folder = start_up.new_folder()
        results += [await runner.run(row, tell) for row in start_up.rows(folder)]
        shutil.rmtree(folder.parent, ignore_errors=True)
    return results


def main() -> None:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(prog="make bench", epilog="example: make bench ARGS='smtp imap'")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"which rows (default: all): {', '.join(GROUPS)}")
    groups = parser.parse_args().groups or list(GROUPS)
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"unknown group {unknown.pop()}: the groups are {', '.join(GROUPS)}")
    results = asyncio.run(measure(groups))
    print(runner.table(results))
    print(f"\nfigures of each run: {runner.save(results, RESULTS)}")


if __name__ == "__main__":
    main()
