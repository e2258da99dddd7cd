"""Runs one embedded part as a child of this process without an event loop: for tests and tools.

`posthorn up` supervises the same commands itself and does not use this.
"""

import subprocess
import time
from pathlib import Path

from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.kafka import KafkaServer
from posthorn_ctl.embedded.postgres import PostgresServer


class Running:
    """A started part; `stop` ends it cleanly, `kill` like a power cut, `start` runs it again on the same data."""

    def __init__(self, part: PostgresServer | KafkaServer, log: Path) -> None:
        self.part = part
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, limit: float = 60.0) -> None:
        """Start and return when it answers. Raises PartError with the end of its log when it does not."""
        self.part.clear()
        self.spawn()
        deadline = time.monotonic() + limit
        while not self.is_ready():
            if time.monotonic() > deadline:
                self.kill()
                raise PartError(self._obituary())
            time.sleep(0.05)

    def spawn(self) -> None:
        """Start the process and return at once. It ends with the *thread* that calls this (prctl(2))."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.part.command(),
                cwd=self.part.working_folder,
                env=self.part.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    def is_ready(self) -> bool:
        """Whether it answers. Raises PartError with the end of its log when it has ended."""
        if self.process is None or self.process.poll() is not None:
            raise PartError(self._obituary())
        return self.part.is_ready()

    def stop(self, limit: float = 20.0) -> None:
        """SIGINT (for PostgreSQL: a fast shutdown; for Kafka: an orderly one), SIGKILL after `limit` seconds."""
        if self.process is None:
            return
        self.process.send_signal(2)
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process = None

    def kill(self) -> None:
        """SIGKILL; returns when nothing of it is left."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        self.part.clear()

    def _obituary(self) -> str:
        tail = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        return f"the server with its log in {self.log} does not answer: {' / '.join(tail)}"
