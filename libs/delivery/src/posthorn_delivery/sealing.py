"""Seals what an address of the cluster passes on to others (RFC 8617): so that they can see what was found at our door.

A message was judged by the cluster where results stand above the topmost Received field, which is ours: nobody outside
can put a field there. What a login has sent has no results, and is not sealed: it is signed. What a script sends on may
say what the script wants, so only the service that runs the script seals it, by the message as it came in.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from posthorn_delivery.keys import DomainKeys
from posthorn_mail_auth.arc.sealing import seal
from posthorn_mail_auth.results import FIELD, authserv_id_of
from posthorn_mail_format.headers import iterate
from posthorn_mail_format.octets import Octets
from posthorn_model.errors import PosthornError
from posthorn_model.ports import Clock
from posthorn_model.queue_items import site_of

REDIRECTED: Final = "X-Sieve-Redirected-From"
"""Who sent a message on by a script: one that comes back to the same address goes no second round."""
_TRUSTED_TO: Final = frozenset({b"received", REDIRECTED.lower().encode()})
IN_THREAD: Final = 131_072
"""Octets of content whose hash would hold up others for too long."""


@dataclass(frozen=True, slots=True)
class Sealer:
    """One for a process. Without keys it seals nothing: the settings do not want it."""

    keys: DomainKeys | None
    clock: Clock
    log: FilteringBoundLogger

    async def sealed(self, content: bytes, address: str, original: Octets) -> bytes:
        """The message as `address` passes it on, behind a seal of its domain if that has a key. Raises Unavailable.

        `content` is as it goes out, for what is changed after the seal breaks it; `original` is as it came in.
        """
        domain, judge = site_of(address), judged_by(original)
        if self.keys is None or domain is None or judge is None:
            return content
        try:
            keys = await self.keys.of(domain)
        except PosthornError as error:
            if error.temporary:
                raise
            self.log.error("DKIM keys cannot be used, mail is passed on without a seal", domain=domain,
                           reason=error.public)  # fmt: skip
            return content
        # One seal for each set, and all who check know RSA.
        key = next((each for each in keys if each.algorithm == "rsa-sha256"), next(iter(keys), None))
        if key is None:
            return content
        at = int(self.clock.time())
        if len(content) > IN_THREAD:
            fields = await asyncio.to_thread(seal, content, key, authserv_id=judge, at=at)
        else:
            fields = seal(content, key, authserv_id=judge, at=at)
        return fields + content


def judged_by(content: Octets) -> str | None:
    """In whose name the cluster has judged the message; None: it has not."""
    for field in iterate(content):
        name = field.name.lower()
        if name in _TRUSTED_TO:
            return None
        if name == FIELD:
            return authserv_id_of(field.value)
    return None
