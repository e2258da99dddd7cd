"""Mailbox/query (RFC 8621 2.3); accounts have few mailboxes: the whole list is read."""

from collections.abc import Callable
from typing import Any

from posthorn_jmap.context import Context, Responses
from posthorn_jmap.methods import standard
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import Arguments
from posthorn_jmap.protocol.errors import MethodError
from posthorn_jmap.protocol.query import Condition, ascending, filter_tree, window
from posthorn_model.ids import MailboxId
from posthorn_model.mail import Mailbox

_CONDITIONS = ("parentId", "name", "role", "hasAnyRole", "isSubscribed")
_SORTS: dict[str, Callable[[Mailbox], Any]] = {
    "sortOrder": lambda mailbox: mailbox.sort_order,
    "name": lambda mailbox: mailbox.name.casefold(),
}


async def mailbox_query(context: Context, arguments: Arguments) -> Responses:
    """Mailbox/query."""
    arguments.only(
        "filter", "sort", "position", "anchor", "anchorOffset", "limit", "calculateTotal", "sortAsTree", "filterAsTree"
    )
    context.check_account(arguments)
    current = await standard.state(context)
    mailboxes = await context.storage.mail.mailboxes(context.account.id)
    wanted = filter_tree(arguments.mapping("filter"), lambda condition: _condition(context, condition))
    kept = {m.id for m in mailboxes if wanted is None or wanted.holds(m)}
    if arguments.flag("filterAsTree"):
        kept = {m.id for m in mailboxes if m.id in kept and _ancestors(m, mailboxes) <= kept}
    ordered = _sorted(mailboxes, arguments.objects("sort") or [])
    if arguments.flag("sortAsTree"):
        ordered = _as_tree(ordered)
    found = [ids.to_wire("m", m.id) for m in ordered if m.id in kept]
    return standard.query_response(context, arguments, "Mailbox", current, window(arguments, found), len(found))


def _condition(context: Context, condition: dict[str, Any]) -> Condition[Mailbox]:
    unknown = [name for name in condition if name not in _CONDITIONS]
    if unknown:
        raise MethodError("unsupportedFilter", f"{unknown[0][:100]} is not a condition of Mailbox/query")
    tests: list[Callable[[Mailbox], bool]] = []
    if "parentId" in condition:
        given = condition["parentId"]
        parent = 0 if given is None else ids.from_wire("m", context.real_id(str(given)))
        tests.append(lambda mailbox: mailbox.parent == parent)
    if (name := condition.get("name")) is not None:
        tests.append(lambda mailbox: str(name).casefold() in mailbox.name.casefold())
    if "role" in condition:
        role = condition["role"]
        tests.append(lambda mailbox: (mailbox.role.value if mailbox.role else None) == role)
    if (any_role := condition.get("hasAnyRole")) is not None:
        tests.append(lambda mailbox: (mailbox.role is not None) is any_role)
    if (subscribed := condition.get("isSubscribed")) is not None:
        tests.append(lambda mailbox: mailbox.subscribed is subscribed)
    return Condition(lambda mailbox: all(test(mailbox) for test in tests))


def _sorted(mailboxes: list[Mailbox], sort: list[dict[str, Any]]) -> list[Mailbox]:
    found = sorted(mailboxes, key=lambda mailbox: mailbox.id)
    for comparator in reversed(sort):
        name = comparator.get("property")
        if name not in _SORTS:
            raise MethodError("unsupportedSort", f"Mailbox/query sorts by {', '.join(_SORTS)}")
        found.sort(key=_SORTS[name], reverse=not ascending(comparator))
    return found


def _ancestors(mailbox: Mailbox, mailboxes: list[Mailbox]) -> set[MailboxId]:
    parents = {m.id: m.parent for m in mailboxes}
    found: set[MailboxId] = set()
    current = mailbox.parent
    while current and current not in found:
        found.add(current)
        current = parents.get(current, MailboxId(0))
    return found


def _as_tree(ordered: list[Mailbox]) -> list[Mailbox]:
    children: dict[MailboxId, list[Mailbox]] = {}
    for mailbox in ordered:
        children.setdefault(mailbox.parent, []).append(mailbox)
    found: list[Mailbox] = []
    waiting = list(reversed(children.get(MailboxId(0), [])))
    while waiting:
        mailbox = waiting.pop()
        found.append(mailbox)
        waiting.extend(reversed(children.get(mailbox.id, [])))
    return found
