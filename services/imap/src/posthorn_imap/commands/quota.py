"""GETQUOTA and GETQUOTAROOT (RFC 9208): one root, the account, whose storage may have a limit.

Limits are set where accounts are managed: QUOTASET is not offered, and SETQUOTA is no command.
"""

from typing import TYPE_CHECKING

from posthorn_imap.mailbox_tree import find_mailbox
from posthorn_imap.places import permitted
from posthorn_imap.protocol.commands import GetQuota, GetQuotaRoot
from posthorn_imap.protocol.responses import Answer, listed, no, ok, string, untagged
from posthorn_model.ids import AccountId
from posthorn_model.mailbox_paths import INBOX
from posthorn_model.rights import Right

if TYPE_CHECKING:
    from posthorn_imap.session import Session

ROOT = b"account"
_UNIT = 1024
"""STORAGE is counted in so many octets (RFC 9208 5.1)."""


async def get_quota(session: "Session", command: GetQuota) -> Answer:
    if command.root != ROOT:
        return no("There is no such quota root", b"NONEXISTENT")
    session.write(await _quota(session, session.user.id, ROOT))
    return ok("GETQUOTA completed")


async def get_quota_root(session: "Session", command: GetQuotaRoot) -> Answer:
    """A mailbox of another account has that one's root, which can be asked for in no other way.

    INBOX is always there, and is what most clients ask about: it need not be looked for.
    """
    account, root = session.user.id, ROOT
    if command.mailbox != INBOX:
        named = permitted(await find_mailbox(session, command.mailbox), Right.READ)
        account = named.place.account
        root = ROOT + b" %d" % account if named.shared else ROOT
    session.write(untagged(b"QUOTAROOT", session.name(command.mailbox), string(root)))
    session.write(await _quota(session, account, root))
    return ok("GETQUOTAROOT completed")


async def _quota(session: "Session", account: AccountId, root: bytes) -> bytes:
    """The QUOTA response; without a limit no resource is named."""
    used, _, limit = await session.parts.storage.mail.quota(account)
    resources = [] if limit is None else [b"STORAGE %d %d" % (-(-used // _UNIT), limit // _UNIT)]
    return untagged(b"QUOTA", string(root), listed(resources))
