"""Mailbox/set (RFC 8621 2.5)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from posthorn_jmap.context import Context, Responses
from posthorn_jmap.methods import standard
from posthorn_jmap.methods.mailbox_get import view
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import Arguments
from posthorn_jmap.protocol.errors import SetError, invalid_properties
from posthorn_model.errors import AlreadyExists, InvalidName, MailboxNotFound
from posthorn_model.ids import MailboxId
from posthorn_model.mail import Role

_SETTABLE = {"name", "parentId", "role", "sortOrder", "isSubscribed"}


async def mailbox_set(context: Context, arguments: Arguments) -> Responses:
    """Mailbox/set: creates in an order that lets one creation be another's parent."""
    request, old = await standard.read_set(context, arguments, "onDestroyRemoveEmails")
    remove = arguments.flag("onDestroyRemoveEmails")
    result = standard.SetResult()

    async def create(key: str, value: dict[str, Any]) -> dict[str, Any]:
        fields = _fields(context, value)
        if "name" not in fields:
            raise invalid_properties("a mailbox needs a name", "name")
        with _blame(value):
            made = await context.storage.mail.create_mailbox(context.account.id, fields.pop("name"), **fields)
        context.created[key] = ids.to_wire("m", made.id)
        shown = view(made, {})
        return {name: shown[name] for name in shown if name not in value or shown[name] != value[name]}

    async def update(key: str, value: dict[str, Any]) -> None:
        fields = _fields(context, value)
        mailbox = (await context.storage.mail.mailbox(context.account.id, _id(key))).id
        with _blame(value):
            await context.storage.mail.update_mailbox(context.account.id, mailbox, **fields)

    async def destroy(key: str, _: None) -> None:
        await context.storage.mail.delete_mailbox(context.account.id, _id(key), remove_messages=remove)

    await standard.each(_parents_first(request.create), create, result.created.__setitem__, result.not_created)
    await standard.each(request.update.items(), update, result.updated.__setitem__, result.not_updated)
    gone = [(key, None) for key in request.destroy]
    await standard.each(gone, destroy, lambda key, _: result.destroyed.append(key), result.not_destroyed)
    new = await standard.state(context)
    return [("Mailbox/set", result.arguments(context, old, new))]


@contextmanager
def _blame(value: dict[str, Any]) -> Iterator[None]:
    """Says which of the properties given are to blame: what is unique or a tree is so by several of them."""
    try:
        yield
    except MailboxNotFound as error:
        raise invalid_properties("no such mailbox", "parentId") from error
    except AlreadyExists as error:
        raise invalid_properties(error.public, *_of(value, "name", "parentId", "role")) from error
    except InvalidName as error:
        raise invalid_properties(error.public, *_of(value, "name", "parentId")) from error


def _of(value: dict[str, Any], *names: str) -> list[str]:
    return [name for name in names if value.get(name) is not None]


def _id(wire: str) -> MailboxId:
    number = ids.from_wire("m", wire)
    if number is None:
        raise SetError("notFound")
    return MailboxId(number)


def _fields(context: Context, value: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(value) - _SETTABLE)
    if unknown:
        raise invalid_properties("cannot be set", *unknown)
    fields: dict[str, Any] = {}
    for name, kind, field in (("name", str, "name"), ("isSubscribed", bool, "subscribed")):
        if name in value:
            if not isinstance(value[name], kind):
                raise invalid_properties(f"{name} has the wrong type", name)
            fields[field] = value[name]
    if "sortOrder" in value:
        order = value["sortOrder"]
        if isinstance(order, bool) or not isinstance(order, int) or not 0 <= order < 2**31:
            raise invalid_properties("sortOrder is a number from 0 to 2^31-1", "sortOrder")
        fields["sort_order"] = order
    if "parentId" in value:
        given = value["parentId"]
        number = 0 if given is None else ids.from_wire("m", context.real_id(str(given)))
        if number is None:
            raise invalid_properties("no such mailbox", "parentId")
        fields["parent"] = MailboxId(number)
    if "role" in value:
        fields["role"] = _role(value["role"])
    return fields


def _role(value: object) -> Role | None:
    if value is None:
        return None
    if value not in list(Role):
        raise invalid_properties(f"the roles are {', '.join(Role)}", "role")
    return Role(str(value))


def _parents_first(create: dict[str, dict[str, Any]]) -> list[tuple[str, Any]]:
    ordered: dict[str, dict[str, Any]] = {}
    waiting = dict(create)
    while waiting:
        ready = [key for key, value in waiting.items() if str(value.get("parentId"))[1:] not in waiting]
        for key in ready or list(waiting):
            ordered[key] = waiting.pop(key)
    return list(ordered.items())
