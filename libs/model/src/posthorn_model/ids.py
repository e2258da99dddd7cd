"""Identifiers: 64-bit integers from database sequences unless said otherwise; no node and no clock inside."""

from typing import NewType

AccountId = NewType("AccountId", int)
DomainId = NewType("DomainId", int)
MailboxId = NewType("MailboxId", int)
MessageId = NewType("MessageId", int)
"""The store's id of a message in an account (JMAP Email id); not the Message-ID header field."""
ThreadId = NewType("ThreadId", int)
QueueMessageId = NewType("QueueMessageId", int)
CollectionId = NewType("CollectionId", int)
"""A calendar or an address book."""
NodeId = NewType("NodeId", int)
Uid = NewType("Uid", int)
"""IMAP UID, 1 to 2**32 - 1, unique in a mailbox under one UIDVALIDITY (RFC 9051 2.3.1.1)."""
Modseq = NewType("Modseq", int)
"""The account's change counter: IMAP mod-sequence (RFC 7162) and JMAP state alike; starts at 1."""
BlobKey = NewType("BlobKey", bytes)
"""SHA-256 of the content (32 bytes), plus one generation byte where the plain key was being collected."""
Epoch = NewType("Epoch", int)
"""Counts the owners of a lease; a write under a lease carries it."""
