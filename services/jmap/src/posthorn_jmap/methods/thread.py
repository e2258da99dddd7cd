"""Thread/get and Thread/changes (RFC 8621 3)."""

from posthorn_jmap.context import Context, Responses
from posthorn_jmap.methods import standard
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import Arguments
from posthorn_jmap.protocol.errors import invalid_arguments
from posthorn_model.events import ChangeKind
from posthorn_model.ids import ThreadId


async def thread_get(context: Context, arguments: Arguments) -> Responses:
    """Thread/get: the emails of each thread, oldest first."""
    arguments.only("ids", "properties")
    context.check_account(arguments)
    asked = standard.ids_to_get(context, arguments)
    if asked is None:
        raise invalid_arguments("Thread/get needs ids")
    properties = arguments.properties(("id", "emailIds"))
    current = await standard.state(context)
    numbers = [ThreadId(number) for value in asked if (number := ids.from_wire("t", value)) is not None]
    threads = await context.storage.mail.threads(context.account.id, numbers)
    found = []
    for thread, messages in threads.items():
        shown = {"id": ids.to_wire("t", thread), "emailIds": [ids.to_wire("e", message) for message in messages]}
        found.append({name: shown[name] for name in dict.fromkeys(["id", *(properties or shown)])})
    return standard.get_response(context, "Thread", current, found, asked)


async def thread_changes(context: Context, arguments: Arguments) -> Responses:
    """Thread/changes."""
    answer, _ = await standard.changes(context, arguments, ChangeKind.THREAD, "t")
    return [("Thread/changes", answer)]
