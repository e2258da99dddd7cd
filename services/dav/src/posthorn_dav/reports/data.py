"""The calendar-data and address-data elements of a report (RFC 4791 9.6, RFC 6352 10.4)."""

from dataclasses import dataclass

from posthorn_dav import answers
from posthorn_dav.answers import Asked
from posthorn_dav.protocol import filters
from posthorn_dav.protocol.multistatus import Resource
from posthorn_dav.protocol.paths import Path, Place
from posthorn_dav.protocol.xml import CALDAV, CARDDAV, DAV, Element, child, make, name
from posthorn_dav.request import Request
from posthorn_groupware import calendar_object, expansion
from posthorn_groupware.calendar_filter import TimeRange
from posthorn_model.groupware import CollectionKind, Item

CALENDAR_DATA = name(CALDAV, "calendar-data")
ADDRESS_DATA = name(CARDDAV, "address-data")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a report gives of each item: properties, its data or not, recurrences expanded in a range or as stored."""

    asked: Asked
    with_data: bool
    expand: TimeRange | None


def wanted(root: Element) -> Wanted:
    """Read the property part of a report. Raises MalformedXml."""
    prop = child(root, DAV, "prop")
    data = None if prop is None else prop.find(CALENDAR_DATA)
    if data is None and prop is not None:
        data = prop.find(ADDRESS_DATA)
    expand = filters.time_range(child(data, CALDAV, "expand"))
    asked = Asked(()) if prop is None and len(root) == 0 else _asked(root)
    return Wanted(asked, data is not None, expand)


def _asked(root: Element) -> Asked:
    for local in ("prop", "allprop", "propname"):
        if child(root, DAV, local) is not None:
            return answers.asked(root)
    return Asked((answers.GETETAG,))


def respond(request: Request, item: Item, wants: Wanted) -> Resource:
    """The response of one item."""
    path = request.path
    inner = Path(Place.ITEM, path.user, path.kind, path.collection or "", item.name)
    element = None
    if wants.with_data:
        content = item.content
        if wants.expand is not None and path.kind is CollectionKind.CALENDAR:
            content = expansion.expand(calendar_object.parse(content), wants.expand)
        calendar = path.kind is CollectionKind.CALENDAR
        namespace, local = (CALDAV, "calendar-data") if calendar else (CARDDAV, "address-data")
        element = make(namespace, local, content.decode("utf-8", "replace"))
    return answers.of_item(request, inner, item, wants.asked, element)
