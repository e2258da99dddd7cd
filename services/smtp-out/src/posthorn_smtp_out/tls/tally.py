"""Sums TLS sessions up for reports (RFC 8460). Only domains that ask for reports are written."""

from collections.abc import Mapping
from typing import Protocol

from posthorn_mail_auth.tls_reporting import reports_to
from posthorn_model.tls_reports import TlsReporting, TlsSession
from posthorn_smtp_out.tls.promises import Texts
from posthorn_storage.tally import Tally
from posthorn_storage.tls_reports import SessionCounts


class Recorder(Protocol):
    """Where sums go: TlsReportStore."""

    async def record(self, counts: SessionCounts) -> None: ...


class SessionTally(Tally[tuple[str, TlsSession]]):
    """One for a process. `dropped` counts sessions that are in no report."""

    def __init__(self, store: Recorder, names: Texts) -> None:
        super().__init__(self._write)
        self._store = store
        self._names = names

    def add(self, domain: str, session: TlsSession) -> None:
        """Count a session with an exchanger of the domain. Never blocks."""
        self.count((domain, session))

    async def _write(self, batch: Mapping[tuple[str, TlsSession], int]) -> None:
        wanted = {domain: await self._wanted(domain) for domain in {domain for domain, _ in batch}}
        await self._store.record(
            {
                (wanted[domain], session): count
                for (domain, session), count in batch.items()
                if wanted[domain].reports_to
            }
        )

    async def _wanted(self, domain: str) -> TlsReporting:
        return TlsReporting(domain, reports_to(await self._names.texts(f"_smtp._tls.{domain}")))
