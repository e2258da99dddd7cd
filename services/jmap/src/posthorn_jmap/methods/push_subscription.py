"""PushSubscription/get and PushSubscription/set (RFC 8620 7.2): of no account, seen by their own user alone.

What is pushed, and the verification code that has to come back first, is sent by the holder of the role push.send.
"""

import base64
import binascii
from datetime import UTC, datetime
from typing import Any, Final

from posthorn_assembly.notices import PUSH_WANTED
from posthorn_jmap.context import Context, Responses
from posthorn_jmap.methods import standard
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import Arguments, patch, utc_date, utc_text
from posthorn_jmap.protocol.errors import MethodError, SetError, invalid_arguments, invalid_properties
from posthorn_model.errors import InvalidContent, SecretMissing, WrongSecret
from posthorn_model.events import Control
from posthorn_model.lookup import Take, lookup_key
from posthorn_storage import Storage
from posthorn_storage.push import BadUrl, NewSubscription, PushSubscription, is_point, push_url

PROPERTIES: Final = ("id", "deviceClientId", "verificationCode", "expires", "types")
SECRET: Final = ("url", "keys")
"""Never shown (RFC 8620 7.2.1)."""
MAX_TEXT: Final = 255
MAX_TYPES: Final = 100
AUTH_OCTETS: Final = 16
"""RFC 8291 3.2."""
HOUR: Final = 3600.0
MADE_IN_AN_HOUR: Final = 60
"""By one account: each makes the server send a request to wherever its client says (RFC 8620 8.6)."""


async def application_key(storage: Storage) -> str:
    """The public key that pushes are signed with, in base64url (RFC 9749 3); "" where nothing can be pushed."""
    try:
        key = await storage.push.vapid_key()
    except (SecretMissing, WrongSecret):
        return ""
    return base64.urlsafe_b64encode(key.public).rstrip(b"=").decode()


def view(found: PushSubscription) -> dict[str, Any]:
    """A PushSubscription object, without what is never shown."""
    return {
        "id": ids.to_wire("p", found.id),
        "deviceClientId": found.device_client_id,
        "verificationCode": found.code if found.verified else None,
        "expires": utc_text(found.expires),
        "types": None if found.types is None else list(found.types),
    }


async def push_get(context: Context, arguments: Arguments) -> Responses:
    """PushSubscription/get."""
    _of_no_account(arguments)
    arguments.only("ids", "properties")
    asked = standard.ids_to_get(context, arguments)
    wanted = arguments.properties((*PROPERTIES, *SECRET)) or list(PROPERTIES)
    if set(wanted) & set(SECRET):
        raise MethodError("forbidden", "url and keys of a push subscription are never shown")
    views = [view(found) for found in await context.storage.push.all(context.account.id)]
    shown = [
        {name: item[name] for name in dict.fromkeys(["id", *wanted])}
        for item in views
        if asked is None or item["id"] in asked
    ]
    present = {item["id"] for item in shown}
    return [
        ("PushSubscription/get", {"list": shown, "notFound": [each for each in asked or () if each not in present]})
    ]


async def push_set(context: Context, arguments: Arguments) -> Responses:
    """PushSubscription/set: no state, and url and keys are for ever."""
    _of_no_account(arguments)
    request = standard.read_objects(context, arguments)
    result = standard.SetResult()
    store, account = context.storage.push, context.account.id
    known = {found.id: found for found in await store.all(account)}

    async def create(key: str, value: dict[str, Any]) -> dict[str, Any]:
        new = _new(context, value)
        if not context.vapid:
            raise SetError("forbidden", "this server cannot push: it has no secret to keep keys under")
        await _take(context)
        made = await store.add(account, new, context.web_push.max_subscriptions)
        known[made.id] = made
        shown = view(made)
        context.created[key] = shown["id"]
        return {name: shown[name] for name in shown if name == "id" or shown[name] != value.get(name)}

    async def update(key: str, value: dict[str, Any]) -> dict[str, Any] | None:
        found = known.get(ids.from_wire("p", key) or 0)
        if found is None:
            raise SetError("notFound")
        changes = _changes(found, value)
        try:
            changed = await store.change(account, found.id, **changes)
        except InvalidContent as error:
            raise invalid_properties(error.public, "verificationCode") from error
        known[found.id] = changed
        expires = utc_text(changed.expires)
        return {"expires": expires} if "expires" in value and value["expires"] != expires else None

    async def destroy(key: str, _: None) -> None:
        number = ids.from_wire("p", key) or 0
        await store.remove(account, number)
        known.pop(number, None)

    await standard.each(request.create.items(), create, result.created.__setitem__, result.not_created)
    await standard.each(request.update.items(), update, result.updated.__setitem__, result.not_updated)
    gone = [(key, None) for key in request.destroy]
    await standard.each(gone, destroy, lambda key, _: result.destroyed.append(key), result.not_destroyed)
    if result.created or result.updated:
        context.publish(Control(PUSH_WANTED, {"account": account}))
    answer = result.arguments(context, "", "")
    return [("PushSubscription/set", {name: answer[name] for name in answer if name not in _STATEFUL})]


_STATEFUL = ("accountId", "oldState", "newState")


def _of_no_account(arguments: Arguments) -> None:
    if "accountId" in arguments.values:
        raise invalid_arguments("a push subscription is of no account: accountId cannot be given")


async def _take(context: Context) -> None:
    """Raise SetError rateLimit when the account has made too many of late."""
    take = Take(lookup_key("push-subscription", str(context.account.id)), MADE_IN_AN_HOUR, HOUR)
    (taken,) = await context.storage.lookup.take([take])
    if not taken.allowed:
        raise SetError("rateLimit", f"at most {MADE_IN_AN_HOUR} push subscriptions in an hour")


def _new(context: Context, value: dict[str, Any]) -> NewSubscription:
    unknown = sorted(set(value) - {"deviceClientId", "url", "keys", "verificationCode", "expires", "types"})
    if unknown:
        raise invalid_properties("cannot be set", *unknown)
    device, url = value.get("deviceClientId"), value.get("url")
    if not isinstance(device, str) or not 0 < len(device) <= MAX_TEXT or not device.isprintable():
        raise invalid_properties(f"deviceClientId is a text of 1 to {MAX_TEXT} characters", "deviceClientId")
    if not isinstance(url, str):
        raise invalid_properties("url is needed", "url")
    try:
        push_url(url, context.web_push.allowed())
    except BadUrl as error:
        raise invalid_properties(str(error), "url") from error
    if value.get("verificationCode") is not None:
        raise invalid_properties("the code comes with a push, and is said back by an update", "verificationCode")
    return NewSubscription(device, url, _keys(value.get("keys")), _types(value), _expires(value))


def _changes(found: PushSubscription, value: dict[str, Any]) -> dict[str, Any]:
    """What an update changes, as arguments of PushStore.change."""
    try:
        whole = patch(view(found), value)
    except ValueError as error:
        raise SetError("invalidPatch", str(error)[:MAX_TEXT]) from error
    fixed = [name for name in whole if name in SECRET or name not in PROPERTIES]
    fixed += [name for name in ("id", "deviceClientId") if whole.get(name) != view(found)[name]]
    if fixed:
        raise invalid_properties("cannot be changed", *sorted(fixed))
    changes: dict[str, Any] = {}
    if "types" in value:
        changes["types"] = (_types(value),)
    if "expires" in value:
        changes["expires"] = (_expires(value),)
    code = whole.get("verificationCode")
    if code is not None:
        if not isinstance(code, str) or len(code) > MAX_TEXT:
            raise invalid_properties("that is not the code that was pushed", "verificationCode")
        changes["code"] = code
    return changes


def _keys(value: object) -> tuple[bytes, bytes] | None:
    """The client's public key and secret (RFC 8291 2)."""
    if value is None:
        return None
    match value:
        case {"p256dh": str(public), "auth": str(auth), **rest} if not rest:
            found = _octets(public), _octets(auth)
            if is_point(found[0]) and len(found[1]) == AUTH_OCTETS:
                return found
    raise invalid_properties("keys has p256dh, a point of P-256, and auth, 16 octets, both in base64url", "keys")


def _octets(text: str) -> bytes:
    """What base64url says, with or without its padding; nothing where it is none."""
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars="-_", validate=True)
    except (binascii.Error, ValueError):
        return b""


def _types(value: dict[str, Any]) -> tuple[str, ...] | None:
    types = value.get("types")
    if types is None:
        return None
    if not isinstance(types, list) or len(types) > MAX_TYPES or not all(map(_is_name, types)):
        raise invalid_properties(f"types is a list of at most {MAX_TYPES} names of types", "types")
    return tuple(dict.fromkeys(types))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isascii() and value.isprintable()


def _expires(value: dict[str, Any]) -> datetime | None:
    if value.get("expires") is None:
        return None
    try:
        found = utc_date(value["expires"])
    except (ValueError, OverflowError):
        found = datetime.min.replace(tzinfo=UTC)
    # This process's clock: it tells a slip of the client, and the database's decides when a subscription ends.
    if found <= datetime.now(UTC):
        raise invalid_properties("expires is a UTCDate that is still to come", "expires")
    return found
