"""Programs that tests start: their folders, their ports, and how they end with the test that started them."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from posthorn_ctl.embedded import leftovers, ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.privileges import launched


def cache_folder() -> Path:
    """Where jars and built programs are kept between sessions."""
    return Path(os.environ.get("POSTHORN_CACHE") or Path.home() / ".cache" / "posthorn")


@contextmanager
def folder_of_server(name: str) -> Iterator[Path]:
    """A temporary folder that the user a server runs as may pass through."""
    folder = Path(tempfile.mkdtemp(prefix=f"posthorn-test-{name}-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def await_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return when something listens. Raises PartError when the process ends, or does not within half a minute."""
    deadline = time.monotonic() + 30
    while True:
        with suppress(OSError), socket.create_connection((ports.LOOPBACK, port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise PartError(
                f"{process.args!r} did not start: {log.read_text(encoding='utf-8', errors='replace')[-500:]}"
            )
        time.sleep(0.05)


@contextmanager
def listening(
    words: Sequence[str], port: int, folder: Path, *, log: str = "log", environ: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A program that works in `folder` and listens on `port`, as long as the block lasts; what it says is in `log`.

    It dies with this process; at its end all that works in the folder ends too. Raises PartError.
    """
    with (folder / log).open("wb") as output:
        process = subprocess.Popen(
            launched(list(words), signal=signal.SIGKILL),
            cwd=folder,
            env={"PATH": os.defpath, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        await_port(port, process, folder / log)
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        leftovers.end(folder, first=signal.SIGKILL)
