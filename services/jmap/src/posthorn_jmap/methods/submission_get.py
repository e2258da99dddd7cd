"""EmailSubmission/get and EmailSubmission/changes (RFC 8621 7.1, 7.2)."""

from typing import Any

from posthorn_jmap.context import Context, Responses
from posthorn_jmap.methods import standard
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import Arguments, utc_text
from posthorn_model.events import ChangeKind
from posthorn_model.queue_items import RecipientState
from posthorn_storage.submissions import Submission

PROPERTIES = (
    "id",
    "identityId",
    "emailId",
    "threadId",
    "envelope",
    "sendAt",
    "undoStatus",
    "deliveryStatus",
    "dsnBlobIds",
    "mdnBlobIds",
)
FINAL = "final"
"""The only undoStatus: what is submitted is sent at once (maxDelayedSend is 0)."""
_AT_ONCE = "250 2.1.5 Delivered to the mailbox"
_QUEUED = "250 2.0.0 Queued"
# Another system's 250 says that it has taken over, not that anybody has it in a mailbox: "unknown" (RFC 8621 7).
_DELIVERED = {
    RecipientState.WAITING: "queued",
    RecipientState.IN_FLIGHT: "queued",
    RecipientState.DELIVERED: "unknown",
    RecipientState.FAILED: "no",
    RecipientState.CANCELLED: "no",
}


def view(submission: Submission) -> dict[str, Any]:
    """An EmailSubmission object."""
    return {
        "id": ids.to_wire("s", submission.id),
        "identityId": ids.to_wire("i", submission.identity),
        "emailId": ids.to_wire("e", submission.message),
        "threadId": ids.to_wire("t", submission.thread),
        "envelope": dict(submission.envelope),
        "sendAt": utc_text(submission.send_at),
        "undoStatus": FINAL,
        "deliveryStatus": {to["email"]: _status(submission, to["email"]) for to in submission.envelope["rcptTo"]},
        "dsnBlobIds": [],
        "mdnBlobIds": [],
    }


def _status(submission: Submission, address: str) -> dict[str, str]:
    if address in submission.delivered:
        return {"smtpReply": _AT_ONCE, "delivered": "yes", "displayed": "unknown"}
    fate = submission.fates.get(address)
    if fate is None:
        return {"smtpReply": _QUEUED, "delivered": "unknown", "displayed": "unknown"}
    return {"smtpReply": fate.reply or _QUEUED, "delivered": _DELIVERED[fate.state], "displayed": "unknown"}


async def submission_get(context: Context, arguments: Arguments) -> Responses:
    """EmailSubmission/get."""
    arguments.only("ids", "properties")
    context.check_account(arguments)
    asked = standard.ids_to_get(context, arguments)
    properties = arguments.properties(PROPERTIES) or list(PROPERTIES)
    current = await standard.state(context)
    numbers = None if asked is None else [n for wire in asked if (n := ids.from_wire("s", wire)) is not None]
    submissions = await context.storage.submissions.all(context.account.id, numbers)
    if asked is None:
        # RFC 8620 5.1: "all" may be refused when there are too many; a client has its /query for that.
        standard.check_count(context, len(submissions))
    found = []
    for submission in submissions:
        shown = view(submission)
        found.append({name: shown[name] for name in dict.fromkeys(["id", *properties])})
    return standard.get_response(context, "EmailSubmission", current, found, asked)


async def submission_changes(context: Context, arguments: Arguments) -> Responses:
    """EmailSubmission/changes."""
    answer, _ = await standard.changes(context, arguments, ChangeKind.EMAIL_SUBMISSION, "s")
    return [("EmailSubmission/changes", answer)]
