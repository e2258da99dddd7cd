"""Looks after the certificates of a process: files that change are read again, expiry is shown and warned of."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

from posthorn_model.ports import Clock
from posthorn_node.errors import TlsError
from posthorn_node.metrics import Metrics
from posthorn_node.tls import TlsContexts

if TYPE_CHECKING:
    from posthorn_node.certificates import Certificate

LOOK_SECONDS = 30.0
WARN_SECONDS = 14 * 86_400.0
"""At most so long before its end a certificate is warned of; of a short-lived one in the last sixth of its life."""
REMIND_SECONDS = 86_400.0


class CertificateWatch:
    """Of one process. `keep` runs until it is cancelled."""

    def __init__(self, tls: TlsContexts, metrics: Metrics, log: FilteringBoundLogger, clock: Clock) -> None:
        self._tls = tls
        self._log = log
        self._clock = clock
        self._not_after = metrics.gauge(
            "tls_certificate_not_after_seconds", "When a certificate expires, in seconds since 1970", ["name"]
        )
        self._warned: dict[tuple[str, float], float] = {}
        tls.changed = self._show

    async def keep(self, pause: float = LOOK_SECONDS) -> None:
        """Look at files and expiry every `pause` seconds; a file that cannot be used leaves what was read before."""
        self._show(self._tls.served)
        seen = await asyncio.to_thread(self._tls.signature)
        while True:
            self.warn()
            await asyncio.sleep(pause)
            found = await asyncio.to_thread(self._tls.signature)
            if found != seen:
                self.reload()
            seen = found

    def reload(self) -> None:
        """Read the files now, and say in the log how that went."""
        try:
            self._tls.reload()
            self._log.info("certificates read again")
        except TlsError as error:
            self._log.error("certificates kept as they were", reason=str(error))

    def warn(self) -> None:
        """Say in the log which certificates expire soon, or have; each at most once a day."""
        now = self._clock.time()
        current = {(each.name, each.not_after) for each in self._tls.served}
        self._warned = {key: at for key, at in self._warned.items() if key in current}
        for each in self._tls.served:
            left = each.not_after - now
            if left > min(WARN_SECONDS, (each.not_after - each.not_before) / 6):
                continue
            last = self._warned.get((each.name, each.not_after))
            if last is not None and now - last < REMIND_SECONDS:
                continue
            self._warned[each.name, each.not_after] = now
            if left > 0:
                self._log.warning("certificate expires soon", certificate=each.name, days=round(left / 86_400, 1))
            else:
                self._log.error("certificate has expired", certificate=each.name, days_ago=round(-left / 86_400, 1))

    def _show(self, certificates: "Sequence[Certificate]") -> None:
        self._not_after.clear()
        for each in certificates:
            self._not_after.labels(each.name).set(each.not_after)
