"""Identity/get, Identity/changes and Identity/set (RFC 8621 6)."""

from typing import Any

from posthorn_jmap.context import Context, Responses
from posthorn_jmap.methods import standard
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import Arguments
from posthorn_jmap.protocol.errors import SetError, invalid_properties
from posthorn_model.events import ChangeKind
from posthorn_storage import Identity

PROPERTIES = ("id", "name", "email", "replyTo", "bcc", "textSignature", "htmlSignature", "mayDelete")
_TEXTS = {"name": "name", "textSignature": "text_signature", "htmlSignature": "html_signature"}
MAX_TEXT = 10_000
MAX_IDENTITIES = 100


def view(identity: Identity, *, only_one: bool) -> dict[str, Any]:
    """An Identity object; the last identity of an account cannot be deleted."""
    return {
        "id": ids.to_wire("i", identity.id),
        "name": identity.name,
        "email": identity.email,
        "replyTo": list(identity.reply_to or ()) or None,
        "bcc": list(identity.bcc or ()) or None,
        "textSignature": identity.text_signature,
        "htmlSignature": identity.html_signature,
        "mayDelete": not only_one,
    }


async def identity_get(context: Context, arguments: Arguments) -> Responses:
    """Identity/get."""
    arguments.only("ids", "properties")
    context.check_account(arguments)
    asked = standard.ids_to_get(context, arguments)
    properties = arguments.properties(PROPERTIES) or list(PROPERTIES)
    current = await standard.state(context)
    identities = await context.storage.directory.identities(context.account.id)
    found = []
    for identity in identities:
        shown = view(identity, only_one=len(identities) == 1)
        if asked is None or shown["id"] in asked:
            found.append({name: shown[name] for name in dict.fromkeys(["id", *properties])})
    return standard.get_response(context, "Identity", current, found, asked)


async def identity_changes(context: Context, arguments: Arguments) -> Responses:
    """Identity/changes."""
    answer, _ = await standard.changes(context, arguments, ChangeKind.IDENTITY, "i")
    return [("Identity/changes", answer)]


async def identity_set(context: Context, arguments: Arguments) -> Responses:
    """Identity/set: an identity's address must be one of the account's own."""
    request, old = await standard.read_set(context, arguments)
    result = standard.SetResult()
    directory, account = context.storage.directory, context.account.id
    known = {identity.id: identity for identity in await directory.identities(account)}

    async def create(key: str, value: dict[str, Any]) -> dict[str, Any]:
        if len(known) >= MAX_IDENTITIES:
            raise SetError("overQuota", f"at most {MAX_IDENTITIES} identities")
        fields = _fields(value)
        email = value.get("email")
        if not isinstance(email, str) or not await directory.may_send_as(account, email):
            raise SetError("forbiddenFrom", "that is not an address of this account")
        made = await directory.put_identity(account, Identity(id=0, email=email, **fields))
        known[made.id] = made
        shown = view(made, only_one=False)
        context.created[key] = shown["id"]
        return {name: shown[name] for name in shown if name not in value}

    async def update(key: str, value: dict[str, Any]) -> None:
        found = known.get(ids.from_wire("i", key) or 0)
        if found is None:
            raise SetError("notFound")
        if "email" in value and value["email"] != found.email:
            raise invalid_properties("the address of an identity cannot change", "email")
        fields = _fields(value)
        current = {name: getattr(found, name) for name in ("name", *_LISTS.values(), *list(_TEXTS.values())[1:])}
        await directory.put_identity(account, Identity(id=found.id, email=found.email, **{**current, **fields}))

    async def destroy(key: str, _: None) -> None:
        number = ids.from_wire("i", key) or 0
        if number not in known:
            raise SetError("notFound")
        if len(known) == 1:
            raise SetError("forbidden", "the last identity cannot be deleted")
        await directory.delete_identity(account, number)
        del known[number]

    await standard.each(request.create.items(), create, result.created.__setitem__, result.not_created)
    await standard.each(request.update.items(), update, result.updated.__setitem__, result.not_updated)
    gone = [(key, None) for key in request.destroy]
    await standard.each(gone, destroy, lambda key, _: result.destroyed.append(key), result.not_destroyed)
    new = await standard.state(context)
    return [("Identity/set", result.arguments(context, old, new))]


_LISTS = {"replyTo": "reply_to", "bcc": "bcc"}


def _fields(value: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(value) - {*_TEXTS, *_LISTS, "email"})
    if unknown:
        raise invalid_properties("cannot be set", *unknown)
    fields: dict[str, Any] = {}
    for name, field in _TEXTS.items():
        if name in value:
            if not isinstance(value[name], str) or len(value[name]) > MAX_TEXT or "\0" in value[name]:
                raise invalid_properties(f"{name} is a text of at most {MAX_TEXT} characters", name)
            fields[field] = value[name]
    for name, field in _LISTS.items():
        if name in value:
            fields[field] = _addresses(name, value[name])
    return fields


def _addresses(name: str, value: object) -> tuple[dict[str, Any], ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_IDENTITIES or not all(map(_is_address, value)):
        raise invalid_properties(f"{name} is a list of addresses", name)
    return tuple(value)


def _is_address(value: object) -> bool:
    match value:
        case {"email": str(email), **rest} if "@" in email and set(rest) <= {"name"}:
            return isinstance(rest.get("name"), str | None)
    return False
