"""The outside world of the demonstration: a small SMTP server that accepts one kind of mail and keeps it in memory.

It refuses everything that is not addressed to its domain, holds at most 100 messages, and is no mail server for
anything else.
"""

import contextlib
import queue
import socketserver
import threading
from types import TracebackType

from posthorn_ctl.demo.target import DemoFailed

MAX_LINE = 1000
MAX_MESSAGE = 1_000_000


class _Conversation(socketserver.StreamRequestHandler):
    timeout = 30.0
    server: "_Server"

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self._reply(b"220 sink.invalid ESMTP")
            while self._answer(self.rfile.readline(MAX_LINE)):
                pass

    def _reply(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")

    def _answer(self, line: bytes) -> bool:
        verb = line[:4].upper()
        if not line or verb == b"QUIT":
            self._reply(b"221 2.0.0 bye")
            return False
        if verb == b"RCPT" and f"@{self.server.domain}>".encode() not in line.lower():
            self._reply(b"550 5.7.1 not for this sink")
        elif verb == b"DATA":
            self._reply(b"354 go ahead")
            self._reply(b"250 2.0.0 kept" if self._keep() else b"552 5.3.4 too much")
        else:
            self._reply(b"250 2.0.0 ok")
        return True

    def _keep(self) -> bool:
        lines: list[bytes] = []
        size = 0
        while True:
            line = self.rfile.readline(MAX_LINE)
            if line in (b".\r\n", b""):
                break
            size += len(line)
            if size <= MAX_MESSAGE:
                lines.append(line.removeprefix(b"."))
        with contextlib.suppress(queue.Full):
            self.server.kept.put_nowait(b"".join(lines))
            return size <= MAX_MESSAGE
        return False


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, host: str, port: int, domain: str) -> None:
        self.domain = domain
        self.kept: queue.Queue[bytes] = queue.Queue(100)
        super().__init__((host, port), _Conversation)


class Sink:
    """Runs the sink in a thread while the context is open. Raises DemoFailed when its port is taken."""

    def __init__(self, host: str, port: int, domain: str) -> None:
        self.domain = domain
        try:
            self._server = _Server(host, port, domain)
        except OSError as error:
            raise DemoFailed(
                f"the sink's port {host}:{port} cannot be opened ({error}): what listens there?"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="sink", daemon=True)

    def __enter__(self) -> "Sink":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, text: bytes, timeout: float) -> bytes:
        """The first kept message that contains `text`. Raises DemoFailed after `timeout` seconds."""
        with contextlib.suppress(queue.Empty):
            while True:
                message = self._server.kept.get(timeout=timeout)
                if text in message:
                    return message
        raise DemoFailed(
            f"nothing reached the sink for {self.domain} within {timeout:.0f} s: see `posthorn logs smtp-out`"
        )
