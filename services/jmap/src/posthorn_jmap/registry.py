"""Every method of this service by its name, with the capability that a request must be "using" to call it."""

from collections.abc import Mapping
from types import MappingProxyType

from posthorn_jmap.context import Method
from posthorn_jmap.methods.core import echo
from posthorn_jmap.methods.identity import identity_changes, identity_get, identity_set
from posthorn_jmap.methods.mailbox_get import mailbox_changes, mailbox_get
from posthorn_jmap.methods.mailbox_query import mailbox_query, mailbox_query_changes
from posthorn_jmap.methods.mailbox_set import mailbox_set
from posthorn_jmap.methods.thread import thread_changes, thread_get
from posthorn_jmap.protocol.session import CORE, MAIL, SUBMISSION

METHODS: Mapping[str, tuple[str, Method]] = MappingProxyType(
    {
        "Core/echo": (CORE, echo),
        "Mailbox/get": (MAIL, mailbox_get),
        "Mailbox/changes": (MAIL, mailbox_changes),
        "Mailbox/query": (MAIL, mailbox_query),
        "Mailbox/queryChanges": (MAIL, mailbox_query_changes),
        "Mailbox/set": (MAIL, mailbox_set),
        "Thread/get": (MAIL, thread_get),
        "Thread/changes": (MAIL, thread_changes),
        "Identity/get": (SUBMISSION, identity_get),
        "Identity/changes": (SUBMISSION, identity_changes),
        "Identity/set": (SUBMISSION, identity_set),
    }
)
