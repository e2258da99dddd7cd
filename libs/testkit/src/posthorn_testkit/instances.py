"""A cluster whose processes are started, stopped, killed and cut off one by one: each service a node of its own.

PostgreSQL and Kafka are real and stand at the network's hub; every instance stands in a network namespace. A small
balancer asks each for its health, as HAProxy would, and gives addresses of those that are ready. Whatever starts here
ends with the thread that started it (prctl(2)), so start instances from the main thread.
"""

import imaplib
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from posthorn_ctl.cluster.toml_text import Tree, merged, rendered
from posthorn_ctl.embedded import kafka, ports, postgres
from posthorn_ctl.embedded.run import Running
from posthorn_node.parent import PARENT_VARIABLE
from posthorn_node.run import TOKEN_VARIABLE
from posthorn_testkit.network import Network, Place, network
from posthorn_testkit.programs import cache_folder, folder_of_server

LISTENERS = {
    "smtp-in": {"smtp": 2525, "submission": 2587},
    "imap": {"imap": 1143},
    "jmap": {"jmap": 8080},
    "dav": {"dav": 8081},
    "maintenance": {"api": 8082},
    "smtp-out": {},
}
SERVICE_OF = {protocol: service for service, ports_ in LISTENERS.items() for protocol in ports_}
VITALS = 9090
SINK_DOMAIN = "outside.test"
SINK_PORT = 2526
LOOK_SECONDS = 0.5
"""Between two looks of the balancer at each instance; `server.drain-delay` is several times as long."""
START_SECONDS = 120.0
SETTINGS: Tree = {
    "cluster": {"lease-ttl": "6s", "heartbeat": "1s", "failure-after": "3s"},
    "server": {"drain-delay": "2s", "drain-limit": "10s", "stop-limit": "5s"},
    "log": {"level": "info", "format": "json"},
    # One login and one recipient get what a provider's customers send together.
    "smtp-in": {"rates": {"login": {"messages": "none", "recipients": "none"}, "recipient": "none"}},
    "smtp-out": {"retry": ["1s"]},
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What all instances share. `brokers` is empty on the peer-to-peer bus."""

    dsn: str
    superuser: str
    """The DSN of the same database for its superuser."""
    brokers: str
    blobs: Path


@dataclass(slots=True, eq=False)
class Instance:
    """One process of a service, a node of its own, in each of its lives."""

    service: str
    place: Place
    config: Path
    log: Path
    token: str
    process: "subprocess.Popen[bytes] | None" = None
    ready: bool = False
    """As the balancer saw it last."""
    code: Path | None = None
    """The tree of another release whose code it runs; None: this one's."""

    @property
    def number(self) -> int:
        """The node's id."""
        return self.place.number

    @property
    def name(self) -> str:
        return f"{self.service} (node {self.number})"

    def asked(self) -> bool:
        """Whether it says that it is ready."""
        with suppress(OSError, ValueError):
            url = f"http://{self.place.host}:{VITALS}/health/ready"
            with urllib.request.urlopen(url, timeout=3) as answer:
                return bool(answer.status == 200)
        return False


@dataclass(slots=True)
class Instances:
    """See the module."""

    folder: Path
    net: Network
    parts: Parts
    overrides: Mapping[str, Any] = field(default_factory=dict)
    reply_seconds: float = 15.0
    """How long a client waits for a reply."""
    code: Path | None = None
    """What instances that are added run; see Instance."""
    _all: list[Instance] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _numbers: int = 0

    def of(self, *services: str) -> list[Instance]:
        """Those of these services, or all, that have a process."""
        return [each for each in self._all if each.process and (not services or each.service in services)]

    def add(self, service: str) -> Instance:
        """Start one more; it becomes ready later."""
        self._numbers += 1
        place = self.net.place(self._numbers)
        own = self.folder / f"node{place.number}"
        own.mkdir()
        made = Instance(service, place, own / "node.toml", own / "log", secrets.token_hex(8), code=self.code)
        made.config.write_text(rendered(self._tree(service, place, own)))
        self._all.append(made)
        self.start(made)
        return made

    def start(self, instance: Instance) -> None:
        """Begin another life, with the same node id."""
        program = Path(sys.executable).with_name(f"posthorn-{instance.service}")
        environ = {**os.environ, PARENT_VARIABLE: str(os.getpid()), TOKEN_VARIABLE: instance.token}
        if instance.code is not None:
            sources = sorted([*instance.code.glob("libs/*/src"), *instance.code.glob("services/*/src")])
            environ["PYTHONPATH"] = os.pathsep.join(map(str, sources))
        with instance.log.open("ab") as log:
            instance.process = subprocess.Popen(
                [*instance.place.prefix, str(program), "--config", str(instance.config)],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def until_ready(self, *instances: Instance) -> None:
        """Wait until these, or all, are ready. Raises AssertionError with the log of one that is not."""
        deadline = time.monotonic() + START_SECONDS
        for instance in instances or self.of():
            while not instance.asked():
                lives = instance.process is not None and instance.process.poll() is None
                if not lives or time.monotonic() > deadline:
                    raise AssertionError(f"{instance.name} is not ready:\n{tail(instance)}")
                time.sleep(0.1)
            instance.ready = True

    def stop(self, instance: Instance) -> None:
        """SIGTERM; returns when it has ended. Raises AssertionError when it did not leave with 0."""
        assert instance.process is not None
        instance.process.send_signal(signal.SIGTERM)
        code = instance.process.wait(60)
        instance.process, instance.ready = None, False
        assert code == 0, f"{instance.name} ended with {code}:\n{tail(instance)}"

    def kill(self, instance: Instance) -> None:
        """SIGKILL."""
        assert instance.process is not None
        instance.process.kill()
        instance.process.wait()
        instance.process = None

    def revive(self, instance: Instance) -> None:
        """Start it again if it has ended by itself, as a supervisor would; wait until it is ready."""
        if instance.process is None or instance.process.poll() is not None:
            self.start(instance)
        self.until_ready(instance)

    def address(self, protocol: str, node: int | None = None) -> tuple[str, int]:
        """Where a balancer sends a client: to the `node`th of those that are ready, counted round."""
        service = SERVICE_OF[protocol]
        ready = [each for each in self.of(service) if each.ready] or self.of(service)
        return ready[(node or 0) % len(ready)].place.host, LISTENERS[service][protocol]

    def imap(self, account: tuple[str, str], node: int | None = None) -> imaplib.IMAP4:
        """A logged-in IMAP connection."""
        client = imaplib.IMAP4(*self.address("imap", node), timeout=self.reply_seconds)
        client.login(*account)
        return client

    @property
    def description(self) -> dict[str, Any]:
        """What of cluster.json is asked for here: the sink and the database."""
        return {
            "sink": {"host": self.net.hub, "port": SINK_PORT, "domain": SINK_DOMAIN},
            "postgres": {"dsn": self.parts.dsn},
        }

    def balance(self) -> None:
        """Look at everybody's health until `close`."""
        with ThreadPoolExecutor(16) as pool:
            while not self._stop.wait(LOOK_SECONDS):
                found = self.of()
                for instance, ready in zip(found, pool.map(Instance.asked, found), strict=True):
                    instance.ready = ready

    def close(self) -> None:
        """End everything, all at once."""
        self._stop.set()
        for instance in self.of():
            assert instance.process is not None
            instance.process.kill()
        for instance in self.of():
            assert instance.process is not None
            instance.process.wait()

    def _tree(self, service: str, place: Place, own: Path) -> Tree:
        bus: Tree = {"type": "kafka", "bootstrap-servers": [self.parts.brokers]} if self.parts.brokers else {}
        tree: Tree = {
            "cluster": {
                "name": "great",
                "node-id": place.number,
                "secret": "s" * 32,
                "peer-bind": f"{place.host}:0",
                **bus,
            },
            "server": {
                "hostname": f"node{place.number}.example.org",
                "data": str(own / "data"),
                "listener": {
                    protocol: {
                        "protocol": protocol,
                        "bind": f"{place.host}:{port}",
                        "tls": "none",
                        "allow-plaintext-auth": True,
                    }
                    for protocol, port in LISTENERS[service].items()
                },
            },
            "storage": {"data": "postgres", "blob": "blobs"},
            "store": {
                "postgres": {"type": "postgresql", "dsn": self.parts.dsn, "pool": {"max-connections": 6}},
                "blobs": {"type": "fs", "path": str(self.parts.blobs)},
            },
            "metrics": {"bind": f"{place.host}:{VITALS}"},
            "smtp-out": {"routes": {SINK_DOMAIN: f"{self.net.hub}:{SINK_PORT}"}},
        }
        return merged(merged(tree, SETTINGS), self.overrides)


def tail(instance: Instance) -> str:
    """The end of its log."""
    return instance.log.read_text(encoding="utf-8", errors="replace")[-3000:]


@contextmanager
def instances(*, with_kafka: bool = True, **overrides: Any) -> Iterator[Instances]:
    """Parts without instances yet; all ends with the block. Raises PartError where a part cannot be had."""
    with ExitStack() as stack:
        net = stack.enter_context(network())
        folder = stack.enter_context(folder_of_server("instances"))
        dsn, superuser = stack.enter_context(_postgres(folder, net.hub))
        brokers = stack.enter_context(_kafka(folder, net.hub)) if with_kafka else ""
        made = Instances(folder, net, Parts(dsn, superuser, brokers, folder / "blobs"), overrides)
        stack.callback(made.close)
        balancer = threading.Thread(target=made.balance, daemon=True)
        balancer.start()
        yield made


@contextmanager
def _postgres(folder: Path, hub: str) -> Iterator[tuple[str, str]]:
    server = postgres.prepare(folder / "postgres")
    with (server.data / "pg_hba.conf").open("a", encoding="ascii") as rules:
        rules.write(f"host all all {hub.rsplit('.', 2)[0]}.0.0/16 scram-sha-256\n")
    listen = {"listen_addresses": f"{ports.LOOPBACK},{hub}", "max_connections": "300"}
    running = Running(replace(server, settings={**server.settings, **listen}), folder / "postgres.log")
    running.start()
    try:
        yield server.dsn().replace(f"@{ports.LOOPBACK}:", f"@{hub}:"), server.dsn(superuser=True, database="posthorn")
    finally:
        running.stop()


@contextmanager
def _kafka(folder: Path, hub: str) -> Iterator[str]:
    server = kafka.prepare(folder / "kafka", cache_folder())
    properties = server.folder / "server.properties"
    text = properties.read_text(encoding="utf-8")
    here = f"PLAINTEXT://{ports.LOOPBACK}:{server.port}"
    # Listening everywhere, told to clients as the hub's address; the controller stays on loopback.
    text = text.replace(f"listeners={here},", f"listeners=PLAINTEXT://0.0.0.0:{server.port},", 1)
    text = text.replace(f"advertised.listeners={here}", f"advertised.listeners=PLAINTEXT://{hub}:{server.port}", 1)
    properties.write_text(text, encoding="utf-8")
    running = Running(server, folder / "kafka.log")
    running.start()
    try:
        yield f"{hub}:{server.port}"
    finally:
        running.stop()
