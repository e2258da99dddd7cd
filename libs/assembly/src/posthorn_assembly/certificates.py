"""Certificates of the database in this process: loaded at the start, on a notice, and when a periodic look finds more.

A notice is a hint (design law 1): without one a certificate is seen at the next look, LOOK_SECONDS later at most.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

from posthorn_model.errors import PosthornError
from posthorn_node.challenges import Challenges
from posthorn_node.errors import TlsError
from posthorn_node.node import Node
from posthorn_node.tls import TlsContexts
from posthorn_storage import Storage
from posthorn_storage.certificates import CertificateRecord, CertificateStore

if TYPE_CHECKING:
    from posthorn_node.certificates import Certificate

LOOK_SECONDS = 15.0


class StoredCertificates:
    """Keeps `tls` up with the database. One that cannot be used is told in the log and left out, the others serve."""

    def __init__(self, store: CertificateStore, tls: TlsContexts, log: FilteringBoundLogger) -> None:
        self._store = store
        self._tls = tls
        self._log = log
        self._versions: dict[str, int] = {}
        self._usable: dict[str, Certificate] = {}
        self._wanted = asyncio.Event()

    @property
    def unusable(self) -> int:
        """How many there are that this process cannot use."""
        return len(self._versions) - len(self._usable)

    def heard(self) -> None:
        """Something has changed, or may have: look soon. May be called from anywhere in the loop."""
        self._wanted.set()

    async def look(self) -> None:
        """Load what has changed since the last look, drop what is gone. A database that does not answer is told."""
        try:
            versions = await self._store.versions()
            changed = {name for name, version in versions.items() if self._versions.get(name) != version}
            gone = set(self._versions) - set(versions)
            if not changed | gone:
                return
            loaded = await self._store.load(changed)
        except PosthornError as error:
            self._log.warning("certificates not looked at, tried again", reason=error.public)
            return
        # Many keys take a while to read: the loop has other things to do.
        opened = await asyncio.to_thread(self._opened, loaded)
        for name in gone | changed:
            self._versions.pop(name, None)
            self._usable.pop(name, None)
        # Their own versions: they may have changed again since the first statement.
        self._versions |= {record.name: record.version for record in loaded}
        self._usable |= opened
        self._tls.store(self._usable.values())
        self._log.info("certificates loaded", changed=sorted(changed | gone)[:20], count=len(self._usable))

    async def keep(self, pause: float = LOOK_SECONDS) -> None:
        """Look for ever, every `pause` seconds and after each call of `heard`."""
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            await self.look()

    def _opened(self, records: Sequence[CertificateRecord]) -> "dict[str, Certificate]":
        # Imported late: a process without certificates in the database need not load the library that reads them.
        from posthorn_node.certificates import parsed
        from posthorn_node.tls import usable

        found = {}
        for record in records:
            names, default = record.names, record.default
            try:
                key = self._store.key_of(record)
                found[record.name] = usable(parsed(record.name, record.chain, key, names=names, default=default))
            except PosthornError as error:
                self._log.error("certificate cannot be used", certificate=record.name, reason=error.public)
            except TlsError as error:
                self._log.error("certificate cannot be used", certificate=record.name, reason=str(error))
        return found


def stored_certificates(node: Node, storage: Storage) -> StoredCertificates:
    """Those of a process, with their metric; nothing is loaded yet. From now on it answers authorities."""
    found = StoredCertificates(storage.certificates, node.tls, node.log)
    if kinds := {each.challenge for each in node.settings.acme.values()}:
        node.tls.challenges = Challenges(storage.acme.challenge, kinds)
    gauge = node.metrics.gauge("tls_certificates_unusable", "Certificates of the database that cannot be used here")
    gauge.set_function(partial(_unusable, found))
    return found


def _unusable(found: StoredCertificates) -> float:
    return float(found.unusable)
