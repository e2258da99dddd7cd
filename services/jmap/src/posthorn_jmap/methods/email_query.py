"""Email/query (RFC 8621 4.4)."""

from posthorn_jmap.context import Context, Responses
from posthorn_jmap.methods import email_filter, standard
from posthorn_jmap.methods.email_headers import confirmed
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import MAX_INT, Arguments
from posthorn_jmap.protocol.query import MAX_IDS, Window, window
from posthorn_storage.mail.search import SearchQuery


async def email_query(context: Context, arguments: Arguments) -> Responses:
    """Email/query: one statement; with an anchor, or a condition on a rare header field, the whole result is read."""
    arguments.only("filter", "sort", "position", "anchor", "anchorOffset", "limit", "calculateTotal", "collapseThreads")
    context.check_account(arguments)
    where = email_filter.condition(context, arguments.mapping("filter"))
    sort = email_filter.sorts(arguments.objects("sort"))
    collapse = arguments.flag("collapseThreads")
    position = arguments.number("position", minimum=-MAX_INT) or 0
    asked = arguments.number("limit")
    limit = MAX_IDS if asked is None else min(asked, MAX_IDS)
    paged = arguments.text("anchor") is None and position >= 0
    query = SearchQuery(where, None, sort, position if paged else 0, limit if paged else None, collapse)
    found = await context.storage.mail.search(context.account.id, query)
    numbers, total = found.ids, found.total
    if found.inexact:
        numbers = await confirmed(context, where, numbers, collapse=collapse)
        total = len(numbers)
    wires = [ids.to_wire("e", number) for number in numbers]
    shown = window(arguments, wires) if found.inexact or not paged else Window(position, wires)
    return standard.query_response(context, arguments, "Email", str(found.state), shown, total)
