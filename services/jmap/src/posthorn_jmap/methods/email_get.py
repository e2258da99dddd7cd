"""Email/get and Email/changes (RFC 8621 4.2, 4.3)."""

from typing import Any

from posthorn_jmap.context import Context, Responses
from posthorn_jmap.methods import email_wanted, standard
from posthorn_jmap.methods.email_opened import opened
from posthorn_jmap.methods.email_view import metadata, view
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import Arguments
from posthorn_jmap.protocol.errors import MethodError
from posthorn_model.events import ChangeKind
from posthorn_model.ids import MessageId
from posthorn_storage.mail import SearchQuery, search

MAX_VALUES = 64_000_000
"""Characters of all body values of one response: what a process can hold for one request."""


async def email_get(context: Context, arguments: Arguments) -> Responses:
    """Email/get."""
    arguments.only("ids", *email_wanted.ARGUMENTS)
    context.check_account(arguments)
    asked = standard.ids_to_get(context, arguments)
    wanted = email_wanted.read(context, arguments)
    current = await standard.state(context)
    if asked is None:
        numbers = await _all(context)
    else:
        numbers = [MessageId(number) for value in asked if (number := ids.from_wire("e", value)) is not None]
    found = []
    held = 0
    for message in await context.storage.mail.messages(context.account.id, numbers, wanted.fields()):
        shown = await view(opened(context.storage.blobs, context.account.id, message), metadata(message), wanted)
        held += _held(shown)
        if held > MAX_VALUES:
            raise MethodError("requestTooLarge", "the bodies asked for are too large for one response")
        found.append({"id": ids.to_wire("e", message.id), **shown})
    return standard.get_response(context, "Email", current, found, asked)


async def _all(context: Context) -> list[MessageId]:
    query = SearchQuery(search.Everything(), limit=context.limits.max_objects_in_get + 1)
    found = (await context.storage.mail.search(context.account.id, query)).ids
    standard.check_count(context, len(found))
    return found


def _held(shown: dict[str, Any]) -> int:
    return sum(len(value["value"]) for value in shown.get("bodyValues", {}).values())


async def email_changes(context: Context, arguments: Arguments) -> Responses:
    """Email/changes."""
    answer, _ = await standard.changes(context, arguments, ChangeKind.EMAIL, "e")
    return [("Email/changes", answer)]
