"""Certificates in files: which the settings name, what is in them, and whether they have changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from posthorn_node.certificates import MAX_PEM, Certificate, parsed
from posthorn_node.errors import TlsError
from posthorn_node.settings import ServerTlsSettings

Signature = tuple[tuple[int, int, int], ...]
"""When each file was changed, its size and its number; (0, 0, 0) for one that is not there."""
SERVER_PAIR = "server.tls"
"""The name of the pair that stands in [server.tls] itself."""


@dataclass(frozen=True, slots=True)
class FilePair:
    """A certificate's file and its key's."""

    name: str
    certificate: Path
    private_key: Path
    names: tuple[str, ...] = ()
    default: bool = False

    def read(self) -> Certificate:
        """Raises TlsError, whose text names the files."""
        chain, key = (_content(path) for path in (self.certificate, self.private_key))
        try:
            return parsed(self.name, chain, key, names=self.names, default=self.default)
        except TlsError as error:
            raise TlsError(f"cannot use {self.certificate} and {self.private_key} for TLS: {error}") from error

    def signature(self) -> Signature:
        return tuple(_signature(path) for path in (self.certificate, self.private_key))


def file_pairs(tls: ServerTlsSettings) -> Sequence[FilePair]:
    """The pairs of the settings; the one of [server.tls] itself is the default when no other is marked so."""
    pairs = [
        FilePair(name, each.certificate, each.private_key, each.names, each.default)
        for name, each in tls.certificates.items()
    ]
    if tls.certificate is not None and tls.private_key is not None:
        marked = any(pair.default for pair in pairs)
        pairs.insert(0, FilePair(SERVER_PAIR, tls.certificate, tls.private_key, default=not marked))
    return pairs


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_PEM + 1)
    except OSError as error:
        raise TlsError(f"cannot read {path}: {error.strerror}; see server.tls in the settings") from error


def _signature(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino
