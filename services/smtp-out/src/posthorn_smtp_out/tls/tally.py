"""Sums TLS sessions up for reports (RFC 8460) and writes the sums every few seconds: no message waits for a report.

Only domains that ask for reports are written. What is counted since the last write is lost with the process: a report
may miss the last seconds of a killed one.
"""

import asyncio
import contextlib
from collections import Counter
from typing import Final, Protocol

from posthorn_mail_auth.tls_reporting import reports_to
from posthorn_model.errors import PosthornError
from posthorn_model.tls_reports import TlsReporting, TlsSession
from posthorn_smtp_out.tls.promises import Texts
from posthorn_storage.tls_reports import SessionCounts

FLUSH_SECONDS: Final = 10.0
MOST: Final = 5000
"""Different sessions that are held; more are dropped until the next write."""
BATCH: Final = 500


class Recorder(Protocol):
    """Where sums go: TlsReportStore."""

    async def record(self, counts: SessionCounts) -> None: ...


class SessionTally:
    """One for a process. `dropped` counts sessions that are in no report."""

    def __init__(self, store: Recorder, names: Texts) -> None:
        self._store = store
        self._names = names
        self._counts: Counter[tuple[str, TlsSession]] = Counter()
        self._writing = asyncio.Lock()
        self.dropped = 0

    def add(self, domain: str, session: TlsSession) -> None:
        """Count a session with an exchanger of the domain. Never blocks."""
        key = (domain, session)
        if key in self._counts or len(self._counts) < MOST:
            self._counts[key] += 1
        else:
            self.dropped += 1

    async def flush(self) -> None:
        """Write what was counted; what cannot be written is kept for the next time. Raises Unavailable."""
        async with self._writing:
            while self._counts:
                batch = dict(list(self._counts.items())[:BATCH])
                wanted = {domain: await self._wanted(domain) for domain in {domain for domain, _ in batch}}
                counts = {
                    (wanted[domain], session): count
                    for (domain, session), count in batch.items()
                    if wanted[domain].reports_to
                }
                await self._store.record(counts)
                for key, count in batch.items():
                    self._counts[key] -= count  # more may have come in the meantime
                    if not self._counts[key]:
                        del self._counts[key]

    async def keep(self) -> None:
        """Write for ever."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            with contextlib.suppress(PosthornError):  # the database is away; the next write takes it along
                await self.flush()

    async def close(self) -> None:
        """Write what is left; it is given up when the database does not take it."""
        with contextlib.suppress(PosthornError):
            await self.flush()

    async def _wanted(self, domain: str) -> TlsReporting:
        return TlsReporting(domain, reports_to(await self._names.texts(f"_smtp._tls.{domain}")))
