"""How many requests and uploads of one account run at once on this process (RFC 8620 2, overload at the door)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from posthorn_jmap.protocol.errors import RequestProblem
from posthorn_jmap.protocol.session import Limits
from posthorn_model.ids import AccountId


@dataclass(slots=True)
class Gates:
    """Counts what runs."""

    limits: Limits
    _running: dict[tuple[str, AccountId], int] = field(default_factory=dict)

    @contextmanager
    def request(self, account: AccountId) -> Iterator[None]:
        """One API request; raises RequestProblem when too many run."""
        with self._counted("maxConcurrentRequests", account, self.limits.max_concurrent_requests):
            yield

    @contextmanager
    def upload(self, account: AccountId) -> Iterator[None]:
        """One upload; raises RequestProblem when too many run."""
        with self._counted("maxConcurrentUpload", account, self.limits.max_concurrent_upload):
            yield

    @contextmanager
    def _counted(self, name: str, account: AccountId, limit: int) -> Iterator[None]:
        key = (name, account)
        if self._running.get(key, 0) >= limit:
            raise RequestProblem("limit", f"at most {limit} at once", 429, limit=name)
        self._running[key] = self._running.get(key, 0) + 1
        try:
            yield
        finally:
            self._running[key] -= 1
            if not self._running[key]:
                del self._running[key]
