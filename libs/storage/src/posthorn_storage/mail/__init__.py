"""The verbs of the mail store on one database: messages, mailboxes, flags, threads, changes and search.

posthorn_storage.mail_store is the door to them: it knows on which database an account lives.
"""

from posthorn_storage.mail.changes import Changes
from posthorn_storage.mail.columns import Column
from posthorn_storage.mail.copying import Copied
from posthorn_storage.mail.flags import FlagsResult, FlagsScope
from posthorn_storage.mail.messages import MessageFields, PlacedMessage, StoredMessage
from posthorn_storage.mail.search import SearchQuery, SearchResult
from posthorn_storage.mail.sorting import SortFacts, SortFields
from posthorn_storage.mail.thread_counts import ThreadCounts
from posthorn_storage.mail.updates import MessageUpdate
from posthorn_storage.mail.view import MailboxView

__all__ = [
    "Changes",
    "Column",
    "Copied",
    "FlagsResult",
    "FlagsScope",
    "MailboxView",
    "MessageFields",
    "MessageUpdate",
    "PlacedMessage",
    "SearchQuery",
    "SearchResult",
    "SortFacts",
    "SortFields",
    "StoredMessage",
    "ThreadCounts",
]
