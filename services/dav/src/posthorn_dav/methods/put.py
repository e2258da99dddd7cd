"""PUT of a calendar object or a card (RFC 4791 5.3.2, RFC 6352 6.3.2): checked, then stored as it was sent."""

import asyncio

from posthorn_dav.errors import Refused
from posthorn_dav.protocol import conditions
from posthorn_dav.protocol.paths import Place
from posthorn_dav.protocol.xml import CALDAV, CARDDAV, DAV
from posthorn_dav.request import Answer, Request, require
from posthorn_groupware import calendar_object, card
from posthorn_model.errors import AlreadyExists, CollectionNotFound, InvalidContent
from posthorn_model.groupware import CollectionKind
from posthorn_storage.groupware import NewItem


async def put(request: Request) -> Answer:
    """Answer 201 or 204 with the new entity tag."""
    require(request.path, Place.ITEM)
    calendar = request.path.kind is CollectionKind.CALENDAR
    namespace = CALDAV if calendar else CARDDAV
    _check_type(request, "text/calendar" if calendar else "text/vcard", namespace, calendar=calendar)
    try:
        collection = await request.collection()
    except CollectionNotFound as error:
        raise Refused(409, "the collection does not exist (RFC 4918 9.7.1)") from error
    content = await request.body(request.settings.max_resource_size)
    try:
        item = await asyncio.to_thread(_calendar_item if calendar else _card_item, request.path.item, content)
    except InvalidContent as error:
        condition = "valid-calendar-data" if calendar else "valid-address-data"
        raise Refused(403, error.public, (namespace, condition)) from error
    if_match, if_none_match = request.conditions()
    found = await request.storage.groupware.items(
        request.account.id, collection.id, names=[item.name], with_content=False, decides=True
    )
    current = found[0].etag if found else None
    if not conditions.allowed(current, if_match, if_none_match):
        raise Refused(412, "the resource is not in the state that the request expects")
    try:
        # The store decides: what was checked above may have changed in between.
        stored = await request.storage.groupware.put_item(
            request.account.id,
            collection.id,
            item,
            if_match=current if if_match is not None else None,
            if_none_match=if_none_match is not None and "*" in if_none_match,
        )
    except AlreadyExists as error:
        raise Refused(409, "another resource of the collection has that UID", (namespace, "no-uid-conflict")) from error
    return Answer(204 if found else 201, headers=(("ETag", f'"{stored.etag}"'),))


def _check_type(request: Request, expected: str, namespace: str, *, calendar: bool) -> None:
    given = (request.header("content-type") or expected).partition(";")[0].strip().lower()
    if given not in (expected, "text/x-vcard" if not calendar else expected):
        condition = "supported-calendar-data" if calendar else "supported-address-data"
        raise Refused(403, f"{given} is not stored here, {expected} is", (namespace, condition))
    if request.header("content-range") is not None:
        raise Refused(400, "a partial PUT is not accepted (RFC 9110 14.5)", (DAV, "no-partial-put"))


def _calendar_item(name: str, content: bytes) -> NewItem:
    found = calendar_object.parse(content)
    kind = f"text/calendar; charset=utf-8; component={found.component}"
    return NewItem(name, found.uid, kind, content, found.component, found.starts_at, found.ends_at)


def _card_item(name: str, content: bytes) -> NewItem:
    found = card.parse(content)
    return NewItem(name, found.uid, "text/vcard; charset=utf-8", content, "VCARD", None, None)
