"""One session at a time has a maildrop (RFC 1939 4): a key of the lookup store, held while the session lives.

It keeps clients out of each other's way and guards nothing: deletions name UIDs, so two sessions would do no harm. That
is why a lookup store that does not answer keeps nobody from his mail.
"""

import asyncio
import secrets

from structlog.typing import FilteringBoundLogger

from posthorn_model.errors import PosthornError
from posthorn_model.ids import AccountId
from posthorn_model.lookup import LookupStore, lookup_key

SECONDS = 60.0
"""So long a maildrop stays locked whose session is gone without a word, with its process."""
RENEW = 20.0
PAUSES = (0.1, 0.3, 0.6, 1.0)
"""Who comes back right after a lost connection waits for its lock to go."""
_FREE = b""


class InUse(Exception):
    """Another session has the maildrop."""


class Lock:
    """The lock of one session; `take` it, `give` it back."""

    def __init__(self, store: LookupStore, account: AccountId, log: FilteringBoundLogger) -> None:
        self._store = store
        self._log = log
        self._key = lookup_key("pop3", str(account))
        self._token = secrets.token_bytes(16)
        self._renewing: asyncio.Task[None] | None = None

    async def take(self) -> None:
        """Lock the maildrop, waiting a moment for it. Raises InUse."""
        for pause in (*PAUSES, None):
            try:
                if await self._taken():
                    self._renewing = asyncio.create_task(self._renew(), name="keep a maildrop locked")
                    return
            except PosthornError as error:
                self._log.warning("maildrop is not locked", reason=error.public)
                return
            if pause is None:
                raise InUse
            await asyncio.sleep(pause)

    async def _taken(self) -> bool:
        held = await self._add()
        if held != _FREE:
            return held is None
        if await self._store.swap(self._key, _FREE, self._token, SECONDS):
            return True
        return await self._add() is None  # what told that it is free was over in between

    async def _add(self) -> bytes | None:
        return await self._store.add(self._key, self._token, SECONDS)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW)
            try:
                if not await self._store.swap(self._key, self._token, self._token, SECONDS):
                    self._log.warning("another session took the maildrop")
                    return
            except PosthornError as error:
                self._log.warning("could not keep a maildrop locked", reason=error.public)

    async def give(self) -> None:
        """Let the maildrop go, if it is still this session's. Any number of calls."""
        renewing, self._renewing = self._renewing, None
        if renewing is None:
            return
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        try:
            await self._store.swap(self._key, self._token, _FREE, 1.0)
        except PosthornError as error:
            self._log.info("could not let a maildrop go", reason=error.public)
