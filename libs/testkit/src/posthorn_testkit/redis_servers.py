"""Real Redis servers of Debian's packages: one alone, a master with a replica and three sentinels, a cluster.

Each lives in a temporary folder, on free ports of the loopback address, and ends with the test that started it.
"""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from posthorn_ctl.embedded import leftovers, ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.privileges import launched
from posthorn_testkit.programs import folder_of_server

PATIENCE = 150.0  # sentinels do nothing for 30 s after they stood still for two
Setting = tuple[str, ...]


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise PartError(f"no Redis: {name} is not installed (Debian: apt-get install redis-server redis-sentinel)")
    return found


def until(holds: Callable[[], bool], what: str) -> None:
    """Look again and again. Raises PartError when it does not hold within PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(OSError):
            if holds():
                return
        if time.monotonic() > deadline:
            raise PartError(f"{what}: not within {PATIENCE:g} s")
        time.sleep(0.02)


@dataclass(slots=True)
class RedisServer:
    """One server process, which a test may stop, kill, pause and start again on the same port and data."""

    folder: Path
    port: int
    settings: Sequence[Setting] = ()
    program: str = "redis-server"
    tls: bool = False
    password: str = ""
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"{'rediss' if self.tls else 'redis'}://{ports.LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start it and return when it listens. Raises PartError."""
        configuration = self.folder / "redis.conf"
        if not configuration.exists():  # a sentinel rewrites its own
            listening = (("port", "0"), ("tls-port", str(self.port))) if self.tls else (("port", str(self.port)),)
            common = (("bind", ports.LOOPBACK), ("dir", str(self.folder)), ("daemonize", "no"))
            lines = [" ".join(words) for words in (*listening, *common, *self.settings)]
            configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [_program(self.program), str(configuration)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                launched(command, signal=signal.SIGKILL),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until(self._listens, f"the Redis server of {self.folder}")

    def say(self, *words: str) -> str:
        """Send one command and return what the server printed. Raises PartError when it refuses."""
        options = ["--tls", "--insecure"] if self.tls else []
        command = [_program("redis-cli"), "-h", ports.LOOPBACK, "-p", str(self.port), *options, *words]
        environment = {"REDISCLI_AUTH": self.password} if self.password else {}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE)
        if done.returncode or (done.stdout.partition(" ")[0].isupper() and done.stdout.startswith(("ERR", "NOAUTH"))):
            raise PartError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def ask(self, *words: str) -> str:
        """The same for a server that may be starting or leaving: "" when it does not answer or refuses."""
        with suppress(PartError):
            return self.say(*words)
        return ""

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: it answers nobody, and its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, kind: signal.Signals) -> None:
        for pid in leftovers.working_in(self.folder):
            subprocess.run(["kill", f"-{kind.name[3:]}", str(pid)], check=True)

    def _end(self, kind: signal.Signals) -> None:
        if self.process is None:
            return
        leftovers.end(self.folder, first=kind)
        self.process.wait()
        self.process = None

    def _listens(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            tail = (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-500:]
            raise PartError(f"the Redis server did not start: {tail}")
        with socket.create_connection((ports.LOOPBACK, self.port), 1):
            return True


@contextmanager
def _serving(port: int, *settings: Setting, program: str = "redis-server", tls: bool = False) -> Iterator[RedisServer]:
    with folder_of_server("redis") as folder:
        server = RedisServer(folder, port, settings, program, tls)
        try:
            server.start()
            yield server
        finally:
            server.kill()


QUIET: tuple[Setting, ...] = (("save", '""'), ("appendonly", "no"), ("loglevel", "notice"))


@contextmanager
def redis_server(*settings: Setting, tls: bool = False) -> Iterator[RedisServer]:
    """One server without data. Raises PartError."""
    with _serving(ports.free_ports(1)[0], *QUIET, *settings, tls=tls) as server:
        yield server


@dataclass(frozen=True, slots=True)
class SentinelSet:
    """A master, a replica and three sentinels, of whom two decide when the master is replaced."""

    master: RedisServer
    replica: RedisServer
    sentinels: tuple[RedisServer, ...]
    name: str

    @property
    def urls(self) -> tuple[str, ...]:
        """Of the sentinels."""
        return tuple(sentinel.url for sentinel in self.sentinels)

    def master_port(self) -> int:
        """Where the sentinels say that the master is."""
        return int(self.sentinels[0].say("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name).split()[1])

    def is_settled(self) -> bool:
        """Whether every sentinel knows the others and the replica, and the replica follows the master."""
        replicated = "master_link_status:up" in self.replica.say("INFO", "replication")
        return replicated and all(self._knows_all(sentinel) for sentinel in self.sentinels)

    def _knows_all(self, sentinel: RedisServer) -> bool:
        words = sentinel.say("SENTINEL", "MASTER", self.name).split()
        state = dict(zip(words[::2], words[1::2], strict=False))
        return state["num-other-sentinels"] == "2" and state["num-slaves"] == "1" and state["flags"] == "master"


@contextmanager
def sentinel_set(*settings: Setting, silence: float = 60.0, master_password: str = "") -> Iterator[SentinelSet]:
    """The set, settled; `settings` are those of both servers. A master silent for `silence` seconds is replaced.

    Raises PartError.
    """
    name = "mymaster"
    first, second, *watching = ports.free_ports(5)
    login = (("requirepass", master_password), ("masterauth", master_password)) if master_password else ()
    shared = (*QUIET, ("repl-diskless-sync-delay", "0"), *login, *settings)
    watch: tuple[Setting, ...] = (
        ("sentinel", "monitor", name, ports.LOOPBACK, str(first), "2"),
        *([("sentinel", "auth-pass", name, master_password)] if master_password else []),
        ("sentinel", "down-after-milliseconds", name, f"{silence * 1000:.0f}"),
        ("sentinel", "failover-timeout", name, "2000"),
    )
    with ExitStack() as stack:
        master = stack.enter_context(_serving(first, *shared))
        replica = stack.enter_context(_serving(second, *shared, ("replicaof", ports.LOOPBACK, str(first))))
        master.password = replica.password = master_password
        sentinels = [stack.enter_context(_serving(port, *watch, program="redis-sentinel")) for port in watching]
        made = SentinelSet(master, replica, tuple(sentinels), name)
        until(made.is_settled, "the sentinels know each other and the replica")
        yield made


SLOTS = 16384


@dataclass(frozen=True, slots=True)
class RedisCluster:
    """Three masters that share the slots evenly, in order, and a replica of the first."""

    masters: tuple[RedisServer, ...]
    replica: RedisServer
    ids: tuple[str, ...]
    """Of the masters, then of the replica, as they call each other."""

    @property
    def servers(self) -> tuple[RedisServer, ...]:
        return (*self.masters, self.replica)

    @property
    def urls(self) -> tuple[str, ...]:
        """Of the masters."""
        return tuple(master.url for master in self.masters)

    def owner_of(self, slot: int) -> int:
        """Which master has a slot from the beginning."""
        return slot * 3 // SLOTS

    def slot_of(self, key: str) -> int:
        """The slot that a key of Redis lies in."""
        return int(self.masters[1].say("CLUSTER", "KEYSLOT", key))

    def begin_move(self, slot: int, source: int, target: int) -> None:
        """Let a slot be on its way: what is not at the source any more is asked for at the target."""
        self.masters[target].say("CLUSTER", "SETSLOT", str(slot), "IMPORTING", self.ids[source])
        self.masters[source].say("CLUSTER", "SETSLOT", str(slot), "MIGRATING", self.ids[target])

    def finish_move(self, slot: int, source: int, target: int) -> None:
        """Bring what is in the slot to the target, and tell everybody."""
        there = str(self.masters[target].port)
        while keys := self.masters[source].say("CLUSTER", "GETKEYSINSLOT", str(slot), "100").split():
            self.masters[source].say("MIGRATE", ports.LOOPBACK, there, "", "0", "5000", "KEYS", *keys)
        for number in (target, source, *({0, 1, 2} - {source, target})):
            self.masters[number].say("CLUSTER", "SETSLOT", str(slot), "NODE", self.ids[target])

    def is_settled(self) -> bool:
        """Whether every server sees four and all slots, and the replica follows."""
        seen = [server.say("CLUSTER", "INFO").split() for server in self.servers]
        whole = all("cluster_state:ok" in words and "cluster_known_nodes:4" in words for words in seen)
        return whole and "master_link_status:up" in self.replica.say("INFO", "replication")


@contextmanager
def redis_cluster(*settings: Setting, silence: float = 60.0) -> Iterator[RedisCluster]:
    """The cluster, settled; a node silent for `silence` seconds counts as dead. Raises PartError."""
    chosen = ports.free_ports(8)
    shared = (
        *QUIET,
        ("cluster-enabled", "yes"),
        ("cluster-node-timeout", f"{silence * 1000:.0f}"),
        ("cluster-require-full-coverage", "no"),
        ("cluster-replica-validity-factor", "0"),
        ("repl-diskless-sync-delay", "0"),
        *settings,
    )
    with ExitStack() as stack:
        servers = [
            stack.enter_context(_serving(port, *shared, ("cluster-port", str(bus))))
            for port, bus in zip(chosen[:4], chosen[4:], strict=True)
        ]
        for number, server in enumerate(servers):
            server.say("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
            if number < 3:
                first, after = (-(-SLOTS * edge // 3) for edge in (number, number + 1))
                server.say("CLUSTER", "ADDSLOTSRANGE", str(first), str(after - 1))
        for port, bus in zip(chosen[1:4], chosen[5:], strict=True):
            servers[0].say("CLUSTER", "MEET", ports.LOOPBACK, str(port), str(bus))
        ids = tuple(server.say("CLUSTER", "MYID") for server in servers)
        replica = servers[3]
        until(lambda: ids[0] in replica.say("CLUSTER", "NODES"), "the nodes have met")
        replica.say("CLUSTER", "REPLICATE", ids[0])
        made = RedisCluster(tuple(servers[:3]), replica, ids)
        until(made.is_settled, "the cluster is whole")
        yield made
