"""REPORT (RFC 3253 3.6): hands the body to the report that its root element names."""

from collections.abc import Awaitable, Callable

from posthorn_dav.errors import Refused
from posthorn_dav.protocol.xml import CALDAV, CARDDAV, DAV, Element, MalformedXml, name
from posthorn_dav.reports.free_busy import free_busy_query
from posthorn_dav.reports.multiget import multiget
from posthorn_dav.reports.query import addressbook_query, calendar_query
from posthorn_dav.reports.sync import sync_collection
from posthorn_dav.request import Answer, Request
from posthorn_model.groupware import CollectionKind

Report = Callable[[Request, Element], Awaitable[Answer]]

_REPORTS: dict[str, tuple[CollectionKind | None, Report]] = {
    name(CALDAV, "calendar-query"): (CollectionKind.CALENDAR, calendar_query),
    name(CALDAV, "calendar-multiget"): (CollectionKind.CALENDAR, multiget),
    name(CALDAV, "free-busy-query"): (CollectionKind.CALENDAR, free_busy_query),
    name(CARDDAV, "addressbook-query"): (CollectionKind.ADDRESS_BOOK, addressbook_query),
    name(CARDDAV, "addressbook-multiget"): (CollectionKind.ADDRESS_BOOK, multiget),
    name(DAV, "sync-collection"): (None, sync_collection),
}


async def report(request: Request) -> Answer:
    """Run the report. Raises Refused (403 supported-report) for one that this resource does not have."""
    root = await request.xml()
    if root is None:
        raise MalformedXml("a REPORT needs a body")
    kind, run = _REPORTS.get(str(root.tag), (None, None))
    if run is None or (kind is not None and kind is not request.path.kind):
        raise Refused(403, "that report is not offered here", (DAV, "supported-report"))
    return await run(request, root)
