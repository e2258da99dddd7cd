"""EmailSubmission/query (RFC 8621 7.3): the account's submissions, looked through in memory."""

from collections.abc import Callable
from typing import Any

from posthorn_jmap.context import Context, Responses
from posthorn_jmap.methods import standard
from posthorn_jmap.methods.submission_get import FINAL
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import Arguments, utc_date
from posthorn_jmap.protocol.errors import MethodError, invalid_arguments
from posthorn_jmap.protocol.query import Condition, ascending, filter_tree, window
from posthorn_storage.submissions import Submission

Test = Callable[[Submission], bool]
_IDS: dict[str, tuple[str, Callable[[Submission], int]]] = {
    "identityIds": ("i", lambda submission: submission.identity),
    "emailIds": ("e", lambda submission: submission.message),
    "threadIds": ("t", lambda submission: submission.thread),
}
_SORTS: dict[str, Callable[[Submission], Any]] = {
    "emailId": lambda submission: submission.message,
    "threadId": lambda submission: submission.thread,
    "sentAt": lambda submission: submission.send_at,
}


async def submission_query(context: Context, arguments: Arguments) -> Responses:
    """EmailSubmission/query."""
    arguments.only("filter", "sort", "position", "anchor", "anchorOffset", "limit", "calculateTotal")
    context.check_account(arguments)
    wanted = filter_tree(arguments.mapping("filter"), lambda leaf: _condition(context, leaf))
    sort = arguments.objects("sort") or []
    current = await standard.state(context)
    submissions = await context.storage.submissions.all(context.account.id)
    kept = [submission for submission in submissions if wanted is None or wanted.holds(submission)]
    for comparator in reversed(sort):
        name = comparator.get("property")
        if name not in _SORTS:
            raise MethodError("unsupportedSort", f"EmailSubmission/query sorts by {', '.join(_SORTS)}")
        kept.sort(key=_SORTS[name], reverse=not ascending(comparator))
    shown = window(arguments, [ids.to_wire("s", submission.id) for submission in kept])
    return standard.query_response(context, arguments, "EmailSubmission", current, shown, len(kept))


def _condition(context: Context, leaf: dict[str, Any]) -> Condition[Submission]:
    tests = [_test(context, name, value) for name, value in leaf.items() if value is not None]
    return Condition(lambda submission: all(test(submission) for test in tests))


def _test(context: Context, name: str, value: Any) -> Test:
    if name in _IDS:
        letter, field = _IDS[name]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise invalid_arguments(f"{name} is a list of ids")
        numbers = {ids.from_wire(letter, context.real_id(item)) for item in value}
        return lambda submission: field(submission) in numbers
    if name == "undoStatus":
        return lambda _: value == FINAL
    if name in ("before", "after"):
        try:
            moment = utc_date(value)
        except ValueError as error:
            raise invalid_arguments(f"{name} is a UTCDate") from error
        if name == "before":
            return lambda submission: submission.send_at < moment
        return lambda submission: submission.send_at >= moment
    raise MethodError("unsupportedFilter", f"{name[:100]} is not a condition of EmailSubmission/query")
