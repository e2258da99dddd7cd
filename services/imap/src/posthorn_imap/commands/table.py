"""Which function performs which command: all commands, each once."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from posthorn_imap.commands.acl import get_acl, list_rights, my_rights, set_acl
from posthorn_imap.commands.append import append
from posthorn_imap.commands.capability import capability
from posthorn_imap.commands.close import close
from posthorn_imap.commands.compress import compress
from posthorn_imap.commands.copy import copy
from posthorn_imap.commands.create import create
from posthorn_imap.commands.delete import delete
from posthorn_imap.commands.enable import enable
from posthorn_imap.commands.expunge import expunge
from posthorn_imap.commands.fetch import fetch
from posthorn_imap.commands.identity import identify
from posthorn_imap.commands.idle import idle
from posthorn_imap.commands.jmap_access import get_jmap_access
from posthorn_imap.commands.listing import list_mailboxes, list_subscribed
from posthorn_imap.commands.login import authenticate, login
from posthorn_imap.commands.logout import logout
from posthorn_imap.commands.metadata import get_metadata, set_metadata
from posthorn_imap.commands.multi_search import multi_search
from posthorn_imap.commands.namespace import namespace
from posthorn_imap.commands.noop import noop
from posthorn_imap.commands.notify import notify
from posthorn_imap.commands.quota import get_quota, get_quota_root
from posthorn_imap.commands.rename import rename
from posthorn_imap.commands.replace import replace
from posthorn_imap.commands.search import cancel_update, search, sort
from posthorn_imap.commands.select import select
from posthorn_imap.commands.starttls import starttls
from posthorn_imap.commands.status import status
from posthorn_imap.commands.store import store
from posthorn_imap.commands.subscribe import subscribe
from posthorn_imap.commands.thread import thread
from posthorn_imap.commands.unauthenticate import unauthenticate
from posthorn_imap.commands.url_access import gen_url_auth, reset_key, url_fetch
from posthorn_imap.progress import telling
from posthorn_imap.protocol import acl, url_access
from posthorn_imap.protocol import commands as c
from posthorn_imap.protocol.notify import Notify
from posthorn_imap.protocol.responses import Answer

if TYPE_CHECKING:
    from posthorn_imap.session import Session

PERFORMERS: Mapping[type[c.Command], Callable[["Session", Any], Awaitable[Answer]]] = {
    c.Append: append,
    c.Authenticate: authenticate,
    c.CancelUpdate: cancel_update,
    c.Capability: capability,
    c.Check: noop,
    c.Close: close,
    c.Compress: compress,
    c.Copy: copy,
    c.Create: create,
    c.Delete: delete,
    c.Enable: enable,
    c.Expunge: expunge,
    c.Fetch: fetch,
    c.GetJmapAccess: get_jmap_access,
    c.GetMetadata: get_metadata,
    c.GetQuota: get_quota,
    c.GetQuotaRoot: get_quota_root,
    c.Id: identify,
    c.Idle: idle,
    c.ListMailboxes: list_mailboxes,
    c.ListSubscribed: list_subscribed,
    c.Login: login,
    c.Logout: logout,
    c.MultiSearch: telling(multi_search),
    c.Namespace: namespace,
    c.Noop: noop,
    Notify: notify,
    acl.SetAcl: set_acl,
    acl.GetAcl: get_acl,
    acl.ListRights: list_rights,
    acl.MyRights: my_rights,
    url_access.GenUrlAuth: gen_url_auth,
    url_access.ResetKey: reset_key,
    url_access.UrlFetch: url_fetch,
    c.Rename: rename,
    c.Replace: replace,
    c.Search: telling(search),
    c.Select: select,
    c.SetMetadata: set_metadata,
    c.Sort: telling(sort),
    c.StartTls: starttls,
    c.Status: status,
    c.Store: store,
    c.Subscribe: subscribe,
    c.Unauthenticate: unauthenticate,
    c.Thread: telling(thread),
}


def perform(session: "Session", command: c.Command) -> Awaitable[Answer]:
    """Act and write the data; returns the tagged response. Raises what the store raises, and SyntaxProblem."""
    return PERFORMERS[type(command)](session, command)
