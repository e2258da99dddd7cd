"""Real milters: opendkim and opendmarc of Debian's packages, and one of ours on libmilter (python3-milter).

Each lives in a temporary folder, on a free port of the loopback address, and ends with the test that started it.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from posthorn_ctl.embedded import ports
from posthorn_ctl.embedded.errors import PartError
from posthorn_testkit.content_filters import program
from posthorn_testkit.programs import folder_of_server, listening

_SYSTEM_PYTHON = Path("/usr/bin/python3")


@dataclass(slots=True)
class OwnMilter:
    """A milter that does what a message asks it to (own_milter.py), and writes down what it was told."""

    address: str
    journal: Path
    read: int = 0
    """Octets of the journal that were read: it writes on meanwhile, so nothing is taken out."""

    def heard(self) -> list[str]:
        """What it was told since this was last asked."""
        new = self.journal.read_bytes()[self.read :]
        whole = new[: new.rfind(b"\n") + 1]
        self.read += len(whole)
        return whole.decode().splitlines()


@dataclass(frozen=True, slots=True)
class Milter:
    """One of other people's: host:port, and its process."""

    address: str
    pid: int


@contextmanager
def own_milter() -> Iterator[OwnMilter]:
    """A milter on libmilter that may change everything. Raises PartError."""
    script = Path(__file__).with_name("own_milter.py")
    probe = [str(_SYSTEM_PYTHON), "-c", "import Milter"]
    if not _SYSTEM_PYTHON.exists() or subprocess.run(probe, check=False, capture_output=True).returncode:
        raise PartError("python3-milter is not installed (Debian: apt-get install python3-milter)")
    with folder_of_server("milter") as folder:
        port = ports.free_ports(1)[0]
        journal = folder / "journal"
        journal.touch()
        with listening([str(_SYSTEM_PYTHON), str(script), str(port), str(journal)], port, folder):
            yield OwnMilter(f"{ports.LOOPBACK}:{port}", journal)


@contextmanager
def opendkim_server(domain: str, canonicalization: str = "simple/simple") -> Iterator[Milter]:
    """An opendkim that signs for `domain` with an RSA key of its own (2,048 bits), which it does for
    clients of this machine alone, and verifies what others send. Raises PartError.
    """
    command = program("opendkim", "opendkim")
    openssl = program("openssl", "openssl")
    with folder_of_server("opendkim") as folder:
        port = ports.free_ports(1)[0]
        key = folder / "key.pem"
        subprocess.run([openssl, "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        key.chmod(0o600)
        settings = folder / "opendkim.conf"
        settings.write_text(
            f"Socket inet:{port}@{ports.LOOPBACK}\nDomain {domain}\nSelector test\nKeyFile {key}\nMode sv\n"
            f"Canonicalization {canonicalization}\nInternalHosts {ports.LOOPBACK}\nNameservers {ports.LOOPBACK}\n"
            "Background no\nSyslog no\nDNSTimeout 1\nRequireSafeKeys no\nAlwaysAddARHeader yes\n",
            encoding="utf-8",
        )
        with listening([command, "-x", str(settings), "-f"], port, folder) as process:
            yield Milter(f"{ports.LOOPBACK}:{port}", process.pid)


@contextmanager
def opendmarc_server() -> Iterator[str]:
    """host:port of an opendmarc that goes by the Authentication-Results it is shown. Raises PartError."""
    command = program("opendmarc", "opendmarc")
    with folder_of_server("opendmarc") as folder:
        port = ports.free_ports(1)[0]
        settings = folder / "opendmarc.conf"
        (folder / "ignored").write_text(
            "192.0.2.1\n", encoding="utf-8"
        )  # without a list it ignores clients of loopback
        settings.write_text(
            f"Socket inet:{port}@{ports.LOOPBACK}\nBackground false\nSyslog false\nSoftwareHeader true\n"
            f"AuthservID mx.example.org\nTrustedAuthservIDs mx.example.org\nIgnoreHosts {folder}/ignored\n",
            encoding="utf-8",
        )
        with listening([command, "-c", str(settings), "-f"], port, folder):
            yield f"{ports.LOOPBACK}:{port}"
