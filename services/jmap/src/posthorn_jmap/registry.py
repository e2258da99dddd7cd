"""Every method of this service by its name, with the capability that a request must be "using" to call it."""

from collections.abc import Mapping
from types import MappingProxyType

from posthorn_jmap.context import Method
from posthorn_jmap.methods.core import blob_copy, echo
from posthorn_jmap.methods.email_get import email_changes, email_get
from posthorn_jmap.methods.email_import import email_copy, email_import
from posthorn_jmap.methods.email_parse import email_parse
from posthorn_jmap.methods.email_query import email_query
from posthorn_jmap.methods.email_set import email_set
from posthorn_jmap.methods.identity import identity_changes, identity_get, identity_set
from posthorn_jmap.methods.mailbox_get import mailbox_changes, mailbox_get
from posthorn_jmap.methods.mailbox_query import mailbox_query
from posthorn_jmap.methods.mailbox_set import mailbox_set
from posthorn_jmap.methods.push_subscription import push_get, push_set
from posthorn_jmap.methods.search_snippet import snippet_get
from posthorn_jmap.methods.standard import query_changes
from posthorn_jmap.methods.submission_get import submission_changes, submission_get
from posthorn_jmap.methods.submission_query import submission_query
from posthorn_jmap.methods.submission_set import submission_set
from posthorn_jmap.methods.thread import thread_changes, thread_get
from posthorn_jmap.protocol.session import CORE, MAIL, SUBMISSION

METHODS: Mapping[str, tuple[str, Method]] = MappingProxyType(
    {
        "Core/echo": (CORE, echo),
        "Blob/copy": (CORE, blob_copy),
        "PushSubscription/get": (CORE, push_get),
        "PushSubscription/set": (CORE, push_set),
        "Mailbox/get": (MAIL, mailbox_get),
        "Mailbox/changes": (MAIL, mailbox_changes),
        "Mailbox/query": (MAIL, mailbox_query),
        "Mailbox/queryChanges": (MAIL, query_changes),
        "Mailbox/set": (MAIL, mailbox_set),
        "Thread/get": (MAIL, thread_get),
        "Thread/changes": (MAIL, thread_changes),
        "Email/get": (MAIL, email_get),
        "Email/changes": (MAIL, email_changes),
        "Email/query": (MAIL, email_query),
        "Email/queryChanges": (MAIL, query_changes),
        "Email/set": (MAIL, email_set),
        "Email/copy": (MAIL, email_copy),
        "Email/import": (MAIL, email_import),
        "Email/parse": (MAIL, email_parse),
        "SearchSnippet/get": (MAIL, snippet_get),
        "Identity/get": (SUBMISSION, identity_get),
        "Identity/changes": (SUBMISSION, identity_changes),
        "Identity/set": (SUBMISSION, identity_set),
        "EmailSubmission/get": (SUBMISSION, submission_get),
        "EmailSubmission/changes": (SUBMISSION, submission_changes),
        "EmailSubmission/query": (SUBMISSION, submission_query),
        "EmailSubmission/queryChanges": (SUBMISSION, query_changes),
        "EmailSubmission/set": (SUBMISSION, submission_set),
    }
)
