"""Signs outgoing mail with the DKIM keys of its domain (RFC 6376, RFC 8463), as the octets are about to be sent.

Which domain signs was said when the message was enqueued, by who knew who sent it. The signature is a function of
content, keys and the message's age: each process makes it once for a message, whatever the number of recipients and
attempts, and another process makes the same. A rotation in between is harmless: the record of the key before stays.
Where the keys of a domain cannot be opened its mail waits: mail without a signature may be refused for good.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from structlog.typing import FilteringBoundLogger

from posthorn_delivery import DomainKeys
from posthorn_mail_auth.dkim import signing
from posthorn_mail_auth.dkim.signing import SigningKey
from posthorn_model.errors import PosthornError, Unavailable
from posthorn_model.ids import QueueMessageId
from posthorn_model.queue_items import DueRecipient
from posthorn_smtp_out.figures import Figures
from posthorn_storage.dkim import DkimStore

MOST_SIGNATURES: Final = 1000
"""Signatures are remembered for so many messages: about a kilobyte each."""
IN_THREAD: Final = 131_072
"""Octets of content whose hash would hold up other attempts for too long."""


class Signer:
    """See the module. One for a process; `clock` is monotonic, in seconds."""

    def __init__(
        self, store: DkimStore, clock: Callable[[], float], log: FilteringBoundLogger, figures: Figures
    ) -> None:
        self._keys = DomainKeys(store, clock)
        self._log = log
        self._figures = figures
        self._signed: OrderedDict[QueueMessageId, asyncio.Task[bytes]] = OrderedDict()

    async def signed(self, due: DueRecipient, content: bytes) -> bytes:
        """Return `content`, whose line ends are CRLF, behind its signatures; as it is when nobody signs it.

        Raises Unavailable when there are keys that cannot be used now.
        """
        domain = due.signing_domain
        if domain is None:
            return content
        task = self._signed.get(due.message)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = asyncio.create_task(self._fields(domain, int(due.created_at.timestamp()), content))
            self._remember(due.message, task)
        fields = await asyncio.shield(task)
        if not fields:
            self._signed.pop(due.message, None)  # the domain may have keys at the next attempt
        return fields + content

    async def _fields(self, domain: str, at: int, content: bytes) -> bytes:
        keys = await self._of(domain)
        if not keys:
            return b""
        if len(content) > IN_THREAD:
            fields = await asyncio.to_thread(signing.sign, content, keys, at=at)
        else:
            fields = signing.sign(content, keys, at=at)
        self._figures.signed.labels("signed" if fields else "no-from").inc()
        return fields

    async def _of(self, domain: str) -> tuple[SigningKey, ...]:
        try:
            return await self._keys.of(domain)
        except PosthornError as error:
            if error.temporary:
                raise
            self._figures.signed.labels("no-key").inc()
            self._log.error("DKIM keys cannot be used, mail waits", domain=domain, reason=error.public)
            raise Unavailable(f"The DKIM keys of {domain} cannot be used") from error

    def _remember(self, message: QueueMessageId, task: asyncio.Task[bytes]) -> None:
        self._signed[message] = task
        self._signed.move_to_end(message)
        if len(self._signed) > MOST_SIGNATURES:
            self._signed.popitem(last=False)
