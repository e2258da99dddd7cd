"""Email/query and Email/queryChanges (RFC 8621 4.4, 4.5)."""

from posthorn_jmap.context import Context, Responses
from posthorn_jmap.methods import email_filter
from posthorn_jmap.methods.email_headers import confirmed
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import MAX_INT, Arguments
from posthorn_jmap.protocol.errors import MethodError
from posthorn_jmap.protocol.query import MAX_IDS, window
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
    if found.inexact or not paged:
        shown = window(arguments, wires)
        position, wires = shown.position, shown.ids
    answer = {
        "accountId": context.account_id,
        "queryState": str(found.state),
        "canCalculateChanges": False,
        "position": position,
        "ids": wires,
    }
    if asked is not None and asked > MAX_IDS:
        answer["limit"] = MAX_IDS
    if arguments.flag("calculateTotal"):
        answer["total"] = total
    return [("Email/query", answer)]


async def email_query_changes(context: Context, arguments: Arguments) -> Responses:
    """Email/queryChanges: not calculated; a client runs its query again (RFC 8620 5.6)."""
    context.check_account(arguments)
    raise MethodError("cannotCalculateChanges")
