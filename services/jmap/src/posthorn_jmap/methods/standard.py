"""What the standard methods of every type share (RFC 8620 5): ids to get, changes, and the bookkeeping of /set."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from posthorn_jmap import errors
from posthorn_jmap.context import Context, Responses
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import Arguments
from posthorn_jmap.protocol.errors import MethodError, SetError, invalid_arguments
from posthorn_jmap.protocol.query import MAX_IDS, Window
from posthorn_model.errors import PosthornError
from posthorn_model.events import ChangeKind
from posthorn_model.ids import Modseq

MAX_CHANGES = 5_000


async def state(context: Context) -> str:
    """The state string, of every type alike: the account's modseq (decision 0004)."""
    return str(await context.storage.mail.state(context.account.id))


def ids_to_get(context: Context, arguments: Arguments) -> list[str] | None:
    """The "ids" of a /get, creation references replaced; None asks for all. Raises MethodError."""
    found = arguments.strings("ids")
    check_count(context, len(found or ()))
    return None if found is None else list(dict.fromkeys(context.real_id(value) for value in found))


def check_count(context: Context, number: int) -> None:
    """Raise MethodError when a /get would answer more objects than the session's limit."""
    if number > context.limits.max_objects_in_get:
        raise MethodError("requestTooLarge", f"at most {context.limits.max_objects_in_get} objects in a /get")


def get_response(
    context: Context, kind: str, state: str, found: list[dict[str, Any]], asked: list[str] | None
) -> Responses:
    """The response of a /get; ids that were asked for and not found are named."""
    present = {item["id"] for item in found}
    missing = [value for value in asked or () if value not in present]
    answer = {"accountId": context.account_id, "state": state, "list": found, "notFound": missing}
    return [(f"{kind}/get", answer)]


def query_response(
    context: Context, arguments: Arguments, kind: str, state: str, shown: Window, total: int
) -> Responses:
    """The response of a /query (RFC 8620 5.5); a limit that is the server's own is told where it may have cut."""
    answer = {
        "accountId": context.account_id,
        "queryState": state,
        "canCalculateChanges": False,
        "position": shown.position,
        "ids": shown.ids,
    }
    asked = arguments.number("limit")
    if (asked is not None and asked > MAX_IDS) or (asked is None and len(shown.ids) == MAX_IDS):
        answer["limit"] = MAX_IDS
    if arguments.flag("calculateTotal"):
        answer["total"] = total
    return [(f"{kind}/query", answer)]


async def query_changes(context: Context, arguments: Arguments) -> Responses:
    """The response of a /queryChanges: not calculated; a client runs its query again (RFC 8620 5.6)."""
    context.check_account(arguments)
    raise MethodError("cannotCalculateChanges")


async def changes(context: Context, arguments: Arguments, kind: ChangeKind, letter: str) -> tuple[dict[str, Any], bool]:
    """The arguments of a /changes response, and whether nothing but counters changed (mailboxes only)."""
    arguments.only("sinceState", "maxChanges")
    context.check_account(arguments)
    since = arguments.text("sinceState")
    if since is None:
        raise invalid_arguments("sinceState is needed")
    limit = arguments.number("maxChanges", minimum=1) or MAX_CHANGES
    modseq = Modseq(ids.state_from_wire(since))
    found = await context.storage.mail.changes(context.account.id, kind, modseq, min(limit, MAX_CHANGES))
    answer = {
        "accountId": context.account_id,
        "oldState": since,
        "newState": str(found.new_state),
        "hasMoreChanges": found.has_more,
        "created": [ids.to_wire(letter, number) for number in found.created],
        "updated": [ids.to_wire(letter, number) for number in found.updated],
        "destroyed": [ids.to_wire(letter, number) for number in found.destroyed],
    }
    return answer, found.counts_only


@dataclass(slots=True)
class SetResult:
    """Collects what a /set did, object by object."""

    created: dict[str, Any] = field(default_factory=dict)
    updated: dict[str, Any] = field(default_factory=dict)
    destroyed: list[str] = field(default_factory=list)
    not_created: dict[str, Any] = field(default_factory=dict)
    not_updated: dict[str, Any] = field(default_factory=dict)
    not_destroyed: dict[str, Any] = field(default_factory=dict)

    def arguments(self, context: Context, old: str, new: str) -> dict[str, Any]:
        """The arguments of the response."""
        return {
            "accountId": context.account_id,
            "oldState": old,
            "newState": new,
            "created": self.created or None,
            "updated": self.updated or None,
            "destroyed": self.destroyed or None,
            "notCreated": self.not_created or None,
            "notUpdated": self.not_updated or None,
            "notDestroyed": self.not_destroyed or None,
        }


@dataclass(frozen=True, slots=True)
class SetRequest:
    """The standard arguments of a /set."""

    create: dict[str, dict[str, Any]]
    update: dict[str, dict[str, Any]]
    destroy: list[str]


async def read_set(context: Context, arguments: Arguments, *extra: str) -> tuple[SetRequest, str]:
    """Read a /set and check ifInState; returns the request and the old state. Raises MethodError."""
    context.check_account(arguments)
    request = read_objects(context, arguments, "ifInState", *extra)
    return request, await check_state(context, arguments)


def read_objects(context: Context, arguments: Arguments, *extra: str) -> SetRequest:
    """Read what a /set creates, updates and destroys. Raises MethodError."""
    arguments.only("create", "update", "destroy", *extra)
    create, update = arguments.mapping("create") or {}, arguments.mapping("update") or {}
    destroy = arguments.strings("destroy") or []
    if not all(isinstance(value, dict) for value in (*create.values(), *update.values())):
        raise invalid_arguments("create and update map ids to objects")
    check_set_count(context, len(create) + len(update) + len(destroy))
    update = {context.real_id(key): value for key, value in update.items()}
    return SetRequest(create, update, [context.real_id(value) for value in destroy])


def check_set_count(context: Context, number: int) -> None:
    """Raise MethodError when a /set or /import changes more objects than the session's limit."""
    if number > context.limits.max_objects_in_set:
        raise MethodError("requestTooLarge", f"at most {context.limits.max_objects_in_set} objects in a /set")


async def check_state(context: Context, arguments: Arguments) -> str:
    """The state before a change. Raises MethodError stateMismatch where ifInState is another."""
    old = str(await context.storage.mail.current_state(context.account.id))
    expected = arguments.text("ifInState")
    if expected is not None and expected != old:
        raise MethodError("stateMismatch")
    return old


async def each(
    items: Iterable[tuple[str, Any]],
    act: Callable[[str, Any], Awaitable[Any]],
    done: Callable[[str, Any], None],
    failed: dict[str, Any],
) -> None:
    """Do one thing per object; an object's own error does not stop the others."""
    for key, value in items:
        try:
            done(key, await act(key, value))
        except SetError as error:
            failed[key] = error.value()
        except PosthornError as error:
            found = errors.set_error(error)
            if found is None:
                raise
            failed[key] = found.value()
