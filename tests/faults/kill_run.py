"""`make kill-run`: mail comes in over many connections while smtp-in, Kafka and PostgreSQL are killed at random.

Every message that was answered 250 must be in its mailbox exactly once and whole, nothing else may be there, and no
spool file may be left. The great run (`make faults`) does more to everybody; this one asks one thing of one path.

make kill-run ARGS="--messages 10000 --connections 50"
make kill-run ARGS="--messages 2000 --seed 7"
"""

import argparse
import random
import secrets
import sys
import time
from pathlib import Path

from tests.faults.couriers import Target
from tests.faults.ledger import Ledger
from tests.faults.load import Load
from tests.faults.nemesis import Nemesis

from posthorn_ctl.embedded.errors import PartError
from posthorn_testkit.cluster import ClusterUnderTest, posthorn, running_cluster
from posthorn_testkit.programs import folder_of_server

VICTIMS = ("smtp-in", "smtp-in", "smtp-in", "kafka", "postgresql")
"""Whom a strike is for, drawn evenly."""
SIZES = (600, 600, 600, 4_000, 4_000, 50_000)
"""Octets of the messages of an account, in turn; the largest are spooled."""
IN_MEMORY = 'smtp-in.limits.content-in-memory="16kB"'
ACCOUNTS = 12


def run(cluster: ClusterUnderTest, *, messages: int, connections: int, strikes: int, seed: int) -> str:
    """What happened, for people. Raises AssertionError with what is wrong."""
    accounts = _accounts(cluster)
    nemesis = Nemesis(cluster, seed, strikes)
    ledger = Ledger("killed")
    draw = random.Random(seed)
    begun = time.monotonic()
    killed = []
    with Load(cluster, ledger, accounts, messages, connections=connections) as load:
        for blow in range(1, strikes + 1):
            ledger.wait(blow * messages // (strikes + 1), 600)
            service = draw.choice(VICTIMS)
            killed.append(nemesis.kill_random(service))
            if service != "smtp-in":
                nemesis.healed(killed[-1])
    took = time.monotonic() - begun
    nemesis.healed(*killed)
    assert len(ledger.acknowledged()) == messages
    ledger.verify(cluster, {each.name: each.password for each in accounts}, nodes=(1, 2))
    left = [path for path in Path(cluster.folder).glob("**/spool/*") if path.is_file()]
    assert not left, f"spool files are left: {left}"
    checked = posthorn("check", "--content", "--data", str(cluster.folder))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return (
        f"{messages} messages answered 250 on {connections} connections in {took:.0f} s, each in its mailbox once; "
        f"{strikes} kills, {load.breaks} connections broken or put off, at most {load.most_tries} tries of one message"
    )


def _accounts(cluster: ClusterUnderTest) -> list[Target]:
    made = [
        Target(f"k{number}@example.org", secrets.token_hex(8), size=SIZES[number % len(SIZES)])
        for number in range(ACCOUNTS)
    ]
    lines = "".join(f"{each.name} {each.password}\n" for each in made)
    done = posthorn("account", "add", "--from", "-", "--data", str(cluster.folder), text=lines)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def main() -> int:
    """Exit code 0: nothing was lost; 1: something was; 3: a part it needs is missing."""
    parser = argparse.ArgumentParser(prog="make kill-run", description="Kill what mail comes in through, and count.")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--strikes", type=int, default=20, help="processes that are killed")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    asked = parser.parse_args()
    options = ("--nodes", "2", "--set", IN_MEMORY)
    try:
        with folder_of_server("kill-run") as folder, running_cluster(folder / "data", *options) as cluster:
            told = run(
                cluster,
                messages=asked.messages,
                connections=asked.connections,
                strikes=asked.strikes,
                seed=asked.seed,
            )
            print(told)
    except PartError as error:
        print(f"make kill-run: {error}", file=sys.stderr)
        return 3
    except AssertionError as wrong:
        print(f"WRONG: {wrong}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
