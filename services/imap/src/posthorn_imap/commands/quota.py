"""GETQUOTA and GETQUOTAROOT (RFC 9208): one root, the account, whose storage may have a limit.

Limits are set where accounts are managed: QUOTASET is not offered, and SETQUOTA is no command.
"""

from typing import TYPE_CHECKING

from posthorn_imap.mailbox_tree import read_tree
from posthorn_imap.protocol.commands import GetQuota, GetQuotaRoot
from posthorn_imap.protocol.responses import Answer, listed, no, ok, string, untagged
from posthorn_model.errors import MailboxNotFound

if TYPE_CHECKING:
    from posthorn_imap.session import Session

ROOT = b"account"
_UNIT = 1024
"""STORAGE is counted in so many octets (RFC 9208 5.1)."""


async def get_quota(session: "Session", command: GetQuota) -> Answer:
    if command.root != ROOT:
        return no("There is no such quota root", b"NONEXISTENT")
    session.write(await _quota(session))
    return ok("GETQUOTA completed")


async def get_quota_root(session: "Session", command: GetQuotaRoot) -> Answer:
    if (await read_tree(session)).find(command.mailbox) is None:
        raise MailboxNotFound
    session.write(untagged(b"QUOTAROOT", session.name(command.mailbox), string(ROOT)))
    session.write(await _quota(session))
    return ok("GETQUOTAROOT completed")


async def _quota(session: "Session") -> bytes:
    """The QUOTA response; without a limit no resource is named."""
    used, _, limit = await session.parts.storage.mail.quota(session.owner.id)
    resources = [] if limit is None else [b"STORAGE %d %d" % (-(-used // _UNIT), limit // _UNIT)]
    return untagged(b"QUOTA", string(ROOT), listed(resources))
