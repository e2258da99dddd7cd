"""The mail store: messages, mailboxes, flags, threads, changes and search, for IMAP, POP3, JMAP and delivery alike."""

from posthorn_storage.mail.changes import Changes
from posthorn_storage.mail.copying import Copied
from posthorn_storage.mail.flags import FlagsResult
from posthorn_storage.mail.messages import MessageFields, PlacedMessage, StoredMessage
from posthorn_storage.mail.search import SearchQuery, SearchResult
from posthorn_storage.mail.store import MailStore
from posthorn_storage.mail.thread_counts import ThreadCounts
from posthorn_storage.mail.updates import MessageUpdate
from posthorn_storage.mail.view import MailboxView

__all__ = [
    "Changes",
    "Copied",
    "FlagsResult",
    "MailStore",
    "MailboxView",
    "MessageFields",
    "MessageUpdate",
    "PlacedMessage",
    "SearchQuery",
    "SearchResult",
    "StoredMessage",
    "ThreadCounts",
]
