"""Runs one embedded part as a child of this process without an event loop: for tests and tools.

`posthorn up` supervises the same commands itself and does not use this.
"""

import subprocess
import time
from pathlib import Path
from typing import IO

from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.kafka import KafkaServer
from posthorn_ctl.embedded.postgres import PostgresServer


class Running:
    """A started part; `stop` ends it cleanly, `kill` like a power cut, `start` runs it again on the same data."""

    def __init__(self, part: PostgresServer | KafkaServer, log: Path) -> None:
        self.part = part
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def _folder(self) -> Path:
        return self.part.data if isinstance(self.part, PostgresServer) else self.part.folder

    def start(self, limit: float = 60.0) -> None:
        """Start and return when it answers. Raises PartError with the end of its log when it does not."""
        self.part.clear()
        with self.log.open("ab") as log:
            self.process = self._spawn(log)
        deadline = time.monotonic() + limit
        while not self.part.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                tail = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
                raise PartError(f"{self._folder}: the server did not start: {' / '.join(tail)}")
            time.sleep(0.05)

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        # For PostgreSQL the server changes into its data folder itself; a closed folder is no place to start it in.
        place = "/" if isinstance(self.part, PostgresServer) else self._folder
        return subprocess.Popen(
            self.part.command(),
            cwd=place,
            env=self.part.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )

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
