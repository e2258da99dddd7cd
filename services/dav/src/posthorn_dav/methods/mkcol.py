"""MKCOL, extended MKCOL and MKCALENDAR (RFC 4918 9.3, RFC 5689, RFC 4791 5.3.1)."""

from posthorn_dav.errors import Refused
from posthorn_dav.methods import writing
from posthorn_dav.protocol.paths import Place
from posthorn_dav.protocol.xml import CALDAV, CARDDAV, DAV, MalformedXml, name
from posthorn_dav.request import Answer, Request
from posthorn_model.errors import AlreadyExists
from posthorn_model.groupware import CollectionKind

_TYPE = {
    CollectionKind.CALENDAR: name(CALDAV, "calendar"),
    CollectionKind.ADDRESS_BOOK: name(CARDDAV, "addressbook"),
}


async def mkcol(request: Request) -> Answer:
    """Make a collection; its type, if given, is the one that this home holds."""
    root = await request.xml()
    if root is not None and root.tag != name(DAV, "mkcol"):
        raise Refused(415, "the body of an MKCOL is DAV:mkcol (RFC 5689)")
    changes = writing.read(root)
    special = {kind for kind in changes.types if kind != name(DAV, "collection")}
    if request.path.kind is not None and special and special != {_TYPE[request.path.kind]}:
        raise Refused(403, "a collection of that type cannot be made here", (DAV, "valid-resourcetype"))
    return await _make(request, changes)


async def mkcalendar(request: Request) -> Answer:
    """Make a calendar, with properties where the body sets them."""
    if request.path.kind is not CollectionKind.CALENDAR:
        raise Refused(403, "calendars are made in a calendar home", (CALDAV, "calendar-collection-location-ok"))
    root = await request.xml()
    if root is not None and root.tag != name(CALDAV, "mkcalendar"):
        raise MalformedXml("the body of an MKCALENDAR is CALDAV:mkcalendar")
    return await _make(request, writing.read(root))


async def _make(request: Request, changes: writing.Changes) -> Answer:
    path = request.path
    if path.place is not Place.COLLECTION or path.kind is None:
        raise Refused(403, "collections are made directly in a calendar or address book home")
    try:
        await request.storage.groupware.create_collection(
            request.account.id,
            path.kind,
            path.collection,
            display_name=changes.display_name or "",
            description=changes.description or "",
            color=changes.color,
            properties={key: value for key, value in changes.dead.items() if value is not None},
        )
    except AlreadyExists as error:
        raise Refused(405, "that name is taken (RFC 4918 9.3.1)", (DAV, "resource-must-be-null")) from error
    return Answer(201, headers=(("Cache-Control", "no-cache"),))
