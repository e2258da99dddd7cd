"""free-busy-query (RFC 4791 7.10): when the calendar's owner is busy."""

import asyncio
from datetime import UTC, datetime

from posthorn_dav.errors import Refused
from posthorn_dav.protocol import filters
from posthorn_dav.protocol.paths import Place
from posthorn_dav.protocol.xml import CALDAV, DAV, Element, MalformedXml, child
from posthorn_dav.request import Answer, Request, require
from posthorn_groupware import calendar_object, expansion
from posthorn_model.groupware import CollectionKind


async def free_busy_query(request: Request, root: Element) -> Answer:
    """Answer 200 with a VFREEBUSY."""
    require(request.path, Place.COLLECTION)
    if request.path.kind is not CollectionKind.CALENDAR:
        raise Refused(403, "only calendars have free and busy times", (DAV, "supported-report"))
    span = filters.time_range(child(root, CALDAV, "time-range"))
    if span is None or span.start is None or span.end is None:
        raise MalformedXml("a free-busy-query needs a time-range with start and end")
    start, end = span.start, span.end
    collection = await request.collection()
    items = await request.storage.groupware.items(
        request.account.id, collection.id, component="VEVENT", time_range=(start, end)
    )
    events = [calendar_object.parse(item.content) for item in items]
    body = await asyncio.to_thread(expansion.free_busy, events, start, end, datetime.now(UTC))
    return Answer(200, body, "text/calendar; charset=utf-8")
