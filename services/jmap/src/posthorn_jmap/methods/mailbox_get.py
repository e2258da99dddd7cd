"""Mailbox/get and Mailbox/changes (RFC 8621 2.1, 2.2)."""

from collections.abc import Mapping
from typing import Any

from posthorn_jmap.context import Context, Responses
from posthorn_jmap.methods import standard
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import Arguments
from posthorn_model.events import ChangeKind
from posthorn_model.ids import MailboxId
from posthorn_model.mail import Mailbox, Role
from posthorn_storage.mail import ThreadCounts

PROPERTIES = (
    "id",
    "name",
    "parentId",
    "role",
    "sortOrder",
    "totalEmails",
    "unreadEmails",
    "totalThreads",
    "unreadThreads",
    "myRights",
    "isSubscribed",
)
COUNTS = ["totalEmails", "unreadEmails", "totalThreads", "unreadThreads"]


def view(mailbox: Mailbox, counts: Mapping[MailboxId, ThreadCounts]) -> dict[str, Any]:
    """A Mailbox object."""
    found = counts.get(mailbox.id, ThreadCounts())
    inbox = mailbox.role is Role.INBOX
    return {
        "id": ids.to_wire("m", mailbox.id),
        "name": mailbox.name,
        "parentId": ids.to_wire("m", mailbox.parent) if mailbox.parent else None,
        "role": mailbox.role.value if mailbox.role else None,
        "sortOrder": mailbox.sort_order,
        "totalEmails": mailbox.total,
        "unreadEmails": found.unread_messages,
        "totalThreads": found.total,
        "unreadThreads": found.unread,
        "myRights": {
            "mayReadItems": True,
            "mayAddItems": True,
            "mayRemoveItems": True,
            "maySetSeen": True,
            "maySetKeywords": True,
            "mayCreateChild": True,
            "mayRename": not inbox,
            "mayDelete": not inbox,
            "maySubmit": True,
        },
        "isSubscribed": mailbox.subscribed,
    }


async def mailbox_get(context: Context, arguments: Arguments) -> Responses:
    """Mailbox/get."""
    arguments.only("ids", "properties")
    context.check_account(arguments)
    asked = standard.ids_to_get(context, arguments)
    properties = arguments.properties(PROPERTIES) or list(PROPERTIES)
    current = await standard.state(context)
    counts: Mapping[MailboxId, ThreadCounts] = {}
    if {"unreadEmails", "totalThreads", "unreadThreads"} & set(properties):
        counts = await context.storage.mail.thread_counts(context.account.id)
    found = []
    for mailbox in await context.storage.mail.mailboxes(context.account.id):
        shown = view(mailbox, counts)
        if asked is None or shown["id"] in asked:
            found.append({name: shown[name] for name in dict.fromkeys(["id", *properties])})
    return standard.get_response(context, "Mailbox", current, found, asked)


async def mailbox_changes(context: Context, arguments: Arguments) -> Responses:
    """Mailbox/changes, with updatedProperties where nothing but counts changed."""
    answer, only_counts = await standard.changes(context, arguments, ChangeKind.MAILBOX, "m")
    return [("Mailbox/changes", {**answer, "updatedProperties": COUNTS if only_counts else None})]
