"""`make users`: one node with all its users at once, each connected by TLS and waiting, and the mail of a busy hour.

`posthorn up` starts the node as anybody would. Each user's client logs in, selects INBOX and waits in IDLE; told of a
message it fetches the whole of it, marks it \\Seen and waits again; one user in four answers, through submission, to an
address outside. The run ends when every client has seen what it was sent and everything has gone out.

make users ARGS="--users 10000 --minutes 5 --peak-per-hour 40000"
"""

import argparse
import asyncio
import base64
import contextlib
import itertools
import random
import re
import ssl
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import uvloop

from bench.cluster import Cluster, running
from bench.idle import allow_open_files, own_memory
from bench.rows.bus import percentile
from bench.rows.plan import processor_seconds
from bench.rows.smtp_in import expect, message
from posthorn_ctl.embedded.errors import PartError
from posthorn_model.cluster import SERVICES
from posthorn_storage import Storage, StorageSettings
from posthorn_testkit.sink import Sink

DOMAIN = "users.example.org"
PASSWORD = "one of ten thousand"
AT_ONCE = 20
"""Logins being made at a time by one helper."""
HELPERS = 2
SENDERS = 10
"""Connections on which mail comes in."""
ANSWERED = 4
"""One message in so many is answered."""
PATIENCE = 120.0
"""Seconds for the last messages to be seen."""
OPTIONS = (
    "imap.limits.connections=100000",
    "imap.limits.connections-per-address=100000",
    "server.listener.imaps.max-connections=100000",
    'smtp-in.rates.login.messages="none"',
    'smtp-in.rates.login.recipients="none"',
)
"""All users come from the one address of the load."""


@dataclass(slots=True)
class Seen:
    """What clients tell of one message: when EXISTS came, and when they had read and marked it (monotonic seconds)."""

    accepted: dict[int, list[float]] = field(default_factory=dict)
    """By user: when each of their messages was answered 250."""
    notices: list[float] = field(default_factory=list)
    """Milliseconds from 250 to EXISTS."""
    readings: list[float] = field(default_factory=list)
    """Milliseconds from EXISTS until the message was there and marked."""
    sent: int = 0
    seen: int = 0
    answers: int = 0


def main() -> int:
    """Exit code 0: all was seen, and all answers went out; 1: something was not; 3: a part it needs is missing."""
    parser = argparse.ArgumentParser(prog="make users", description="One node with all its users at once.")
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--peak-per-hour", type=int, default=40_000, help="messages to the users")
    parser.add_argument("--to", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.to:
        uvloop.run(be_clients(asked.to, asked.first, asked.users))
        return 0
    if problem := allow_open_files(asked.users + 1000):
        print(f"make users: {problem}", file=sys.stderr)
        return 3
    try:
        return uvloop.run(measure(asked.users, asked.minutes * 60, asked.peak_per_hour / 3600))
    except PartError as error:
        print(f"make users: {error}", file=sys.stderr)
        return 3


async def measure(users: int, seconds: float, rate: float) -> int:
    """Run the node with so many users and so many messages a second; the exit code."""
    options = [word for option in OPTIONS for word in ("--set", option)]
    async with running(*options) as cluster, outside(cluster) as sink:
        storage = await Storage.open(StorageSettings(dsn=cluster.dsn, blobs=None))
        await storage.directory.add_domain(DOMAIN)
        await storage.directory.add_accounts([(address(number), PASSWORD) for number in range(users)])
        await storage.close()
        tell_memory("before anybody is there", cluster)
        seen, begun = Seen(), time.monotonic()
        async with clients(cluster.address("imaps")[1], users, seen, cluster):
            took = time.monotonic() - begun
            print(f"{users} users logged in by TLS and wait: {took:.0f} s, {users / took:.0f} a second", flush=True)
            tell_memory("with all of them", cluster)
            before, begun = processors(cluster), time.monotonic()
            await mail_comes(cluster, users, seconds, rate, seen)
            took = time.monotonic() - begun
            for service, spent in processors(cluster).items():
                print(f"  {service}: {100 * (spent - before[service]) / took:.1f} % of a processor")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    while seen.seen < seen.sent or len(sink.mails) < seen.answers:
                        await asyncio.sleep(0.1)
            tell_memory("at the end", cluster)
        return report(seen, len(sink.mails), took)


def report(seen: Seen, out: int, took: float) -> int:
    """Print what was seen; the exit code."""
    print(f"{seen.sent} messages came in {took:.0f} s ({seen.sent / took * 3600:.0f} an hour), {seen.seen} were seen")
    print(f"{seen.answers} answers were submitted, {out} went out")
    for name, taken in (("250 to EXISTS", seen.notices), ("EXISTS to read and marked", seen.readings)):
        print(f"{name}: median {percentile(taken, 0.5):.1f} ms, p99 {percentile(taken, 0.99):.1f} ms")
    return int(seen.seen != seen.sent or out != seen.answers or not seen.sent)


def address(number: int) -> str:
    return f"user{number}@{DOMAIN}"


@contextlib.asynccontextmanager
async def outside(cluster: Cluster) -> AsyncIterator[Sink]:
    """The server that mail to the outside goes to."""
    sink = Sink(host=cluster.description["sink"]["host"])
    sink.port = cluster.description["sink"]["port"]
    async with sink:
        yield sink


def processors(cluster: Cluster) -> dict[str, float]:
    """Seconds of processor by service, PostgreSQL and Kafka among them."""
    spent: dict[str, float] = {}
    for each in cluster.description["processes"]:
        spent[each["service"]] = spent.get(each["service"], 0.0) + processor_seconds([each["pid"]])
    return spent


def tell_memory(when: str, cluster: Cluster) -> None:
    services = [each for each in cluster.description["processes"] if each["service"] in SERVICES]
    parts = [f"{each['service']} {own_memory(each['pid']) / 1e6:.0f}" for each in services]
    print(f"memory {when}, MB: {', '.join(parts)}", flush=True)


async def mail_comes(cluster: Cluster, users: int, seconds: float, rate: float, seen: Seen) -> None:
    """Messages to users at random, evenly in time, over a few connections."""
    chosen = random.Random(1)
    begun = time.monotonic()
    places = iter(range(int(seconds * rate)))

    async def sender() -> None:
        reader, writer = await asyncio.open_connection(*cluster.address("smtp"))
        await expect(reader, b"220")
        writer.write(b"EHLO bench.invalid\r\n")
        await expect(reader, b"250")
        for place in places:
            await asyncio.sleep(max(0.0, begun + place / rate - time.monotonic()))
            user = chosen.randrange(users)
            writer.write(f"MAIL FROM:<a@example.net>\r\nRCPT TO:<{address(user)}>\r\nDATA\r\n".encode())
            for code in (b"250", b"250", b"354"):
                await expect(reader, code)
            seen.sent += 1
            writer.write(message() + b".\r\n")
            await expect(reader, b"250")
            seen.accepted.setdefault(user, []).append(time.monotonic())
        writer.close()

    await asyncio.gather(*(sender() for _ in range(SENDERS)))


@contextlib.asynccontextmanager
async def clients(port: int, users: int, seen: Seen, cluster: Cluster) -> AsyncIterator[None]:
    """The clients of all users while the block runs; what they tell goes to `seen`."""
    pipe = asyncio.subprocess.PIPE
    helpers = []
    for number in range(HELPERS):
        first, after = users * number // HELPERS, users * (number + 1) // HELPERS
        words = ("--to", str(port), "--first", str(first), "--users", str(after - first))
        helpers.append(
            await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.users", *words, stdin=pipe, stdout=pipe)
        )
    try:
        for helper in helpers:
            assert helper.stdout is not None
            if await helper.stdout.readline() != b"ready\n":
                raise RuntimeError("clients could not connect")
        async with asyncio.TaskGroup() as group:
            streams = [helper.stdout for helper in helpers if helper.stdout is not None]
            hearing = [group.create_task(hear(stream, seen, cluster)) for stream in streams]
            yield
            for task in hearing:
                task.cancel()
    finally:
        for helper in helpers:
            assert helper.stdin is not None
            helper.stdin.close()
            await helper.wait()


async def hear(stream: asyncio.StreamReader, seen: Seen, cluster: Cluster) -> None:
    """Note what one helper's clients tell, one line each: user, number, EXISTS, read. Some of them answer."""
    counted = itertools.count(1)
    async with asyncio.TaskGroup() as group:
        while line := await stream.readline():
            words = line.split()
            user, number, exists, read = int(words[0]), int(words[1]), float(words[2]), float(words[3])
            while len(seen.accepted.get(user, ())) < number:
                await asyncio.sleep(0.001)
            seen.notices.append(max(0.0, (exists - seen.accepted[user][number - 1]) * 1000))
            seen.readings.append((read - exists) * 1000)
            if next(counted) % ANSWERED == 0:
                seen.answers += 1
                group.create_task(answer(cluster, user))
            seen.seen += 1
    raise ConnectionError("clients have ended")


async def answer(cluster: Cluster, user: int) -> None:
    """Submit one message as this user to an address outside."""
    reader, writer = await asyncio.open_connection(*cluster.address("submission"))
    await expect(reader, b"220")
    writer.write(b"EHLO bench.invalid\r\n")
    await expect(reader, b"250")
    writer.write(b"AUTH PLAIN " + base64.b64encode(f"\0{address(user)}\0{PASSWORD}".encode()) + b"\r\n")
    await expect(reader, b"235")
    whom = f"bob@{cluster.description['sink']['domain']}"
    writer.write(f"MAIL FROM:<{address(user)}>\r\nRCPT TO:<{whom}>\r\nDATA\r\n".encode())
    for code in (b"250", b"250", b"354"):
        await expect(reader, code)
    writer.write(message().replace(b"a@example.net", address(user).encode(), 1) + b".\r\n")
    await expect(reader, b"250")
    writer.close()


async def be_clients(port: int, first: int, count: int) -> None:
    """Connect for users from `first` on, tell of each message that is read, until the input ends."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    users, waiting = iter(range(first, first + count)), []

    async def connect() -> None:
        for user in users:
            client = Client(*await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=65536))
            await client.line(rb"\* OK")
            await client.ask(f'LOGIN {address(user)} "{PASSWORD}"')
            await client.ask("SELECT INBOX")
            await client.idle()
            waiting.append(asyncio.create_task(client.read_what_comes(user)))

    await asyncio.gather(*(connect() for _ in range(AT_ONCE)))
    print("ready", flush=True)
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    done, _ = await asyncio.wait((ended, *waiting), return_when=asyncio.FIRST_COMPLETED)
    for each in done:
        each.result()


@dataclass(slots=True)
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    messages: int = 0
    """As the last EXISTS said."""
    told: float = 0.0
    """When it came."""

    async def read_what_comes(self, user: int) -> None:
        """Wait in IDLE; read and mark what comes, and tell of it. Ends with the connection only."""
        read = self.messages
        while True:
            while self.messages == read:
                await self.line(rb"\*")
            self.writer.write(b"DONE\r\n")
            await self.line(rb"i OK")
            while read < self.messages:
                read, told = read + 1, self.told
                await self.ask(f"FETCH {read} (UID FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[])")
                await self.ask(f"STORE {read} +FLAGS (\\Seen)")
                print(user, read, told, time.monotonic(), flush=True)
            await self.idle()

    async def idle(self) -> None:
        self.writer.write(b"i IDLE\r\n")
        await self.line(rb"\+")

    async def ask(self, command: str) -> None:
        """One command, and its OK. Raises RuntimeError for anything else."""
        self.writer.write(f"t {command}\r\n".encode())
        found = await self.line(rb"t (\w+)")
        if found[1] != b"OK":
            raise RuntimeError(f"{command}: {found.string!r}")

    async def line(self, beginning: bytes) -> re.Match[bytes]:
        """Read up to a line that begins so. Raises ConnectionError at the end."""
        while line := await self.reader.readline():
            if exists := re.match(rb"\* (\d+) EXISTS", line):
                self.messages, self.told = int(exists[1]), time.monotonic()
            if found := re.match(beginning, line):
                return found
        raise ConnectionError(f"closed while waiting for {beginning!r}")


if __name__ == "__main__":
    raise SystemExit(main())
