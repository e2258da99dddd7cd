"""The session's own Azure Blob Storage: Azurite, Microsoft's emulator, installed once by npm in the cache folder."""

import base64
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from azure.storage.blob import BlobServiceClient

from posthorn_ctl.embedded import leftovers, ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.embedded.privileges import launched
from posthorn_testkit.programs import cache_folder, folder_of_server

AZURITE = "azurite@3.35.0"
"""The last one that runs on the Node.js of Debian and its neighbours."""


@dataclass(frozen=True, slots=True)
class Azure:
    """A real server: `endpoint` is an http URL that ends with the account's name."""

    endpoint: str
    account: str
    access_key: str

    def client(self) -> BlobServiceClient:
        return BlobServiceClient(self.endpoint, {"account_name": self.account, "account_key": self.access_key})

    def new_container(self) -> str:
        """Make an empty container and return its name."""
        name = f"test-{secrets.token_hex(6)}"
        with self.client() as client:
            client.create_container(name)
        return name


def azurite_program(cache: Path) -> Path:
    """The server's script, installed on the first call. Raises PartError when it cannot be installed."""
    home = cache / "npm" / AZURITE.replace("@", "-")
    program = home / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    if program.is_file():
        return program
    npm = shutil.which("npm")
    if npm is None:
        raise PartError(f"no Azure server: neither {program} nor npm to install it with")
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as private:
        done = subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", private, AZURITE],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise PartError(f"no Azure server: npm install {AZURITE}: {done.stderr.strip()[-300:]}")
        # Another session may have been quicker: its copy is as good.
        with suppress(OSError):
            Path(private).rename(home)
            Path(private).mkdir()
    home.chmod(0o755)
    return program


@contextmanager
def azure_server() -> Iterator[Azure]:
    """A running server without containers. Raises PartError."""
    program = azurite_program(cache_folder())
    node = shutil.which("node")
    if node is None:
        raise PartError("no Azure server: Node.js is not installed")
    with folder_of_server("azure") as folder:
        port = ports.free_ports(1)[0]
        account, key = "test" + secrets.token_hex(4), base64.b64encode(secrets.token_bytes(32)).decode()
        options = ["--blobHost", ports.LOOPBACK, "--blobPort", str(port), "--location", str(folder), "--silent"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                launched(
                    [node, str(program), *options, "--skipApiVersionCheck", "--disableTelemetry"], signal=signal.SIGKILL
                ),
                cwd=folder,
                env={"PATH": os.defpath, "AZURITE_ACCOUNTS": f"{account}:{key}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            _await_port(port, process, folder / "log")
            yield Azure(f"http://{ports.LOOPBACK}:{port}/{account}", account, key)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            leftovers.end(folder, first=signal.SIGKILL)


def _await_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        with suppress(OSError), socket.create_connection((ports.LOOPBACK, port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise PartError(f"the Azure server did not start: {log.read_text(errors='replace')[-500:]}")
        time.sleep(0.05)
