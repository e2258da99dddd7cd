"""calendar-query and addressbook-query (RFC 4791 7.8, RFC 6352 8.6): the items that a filter matches."""

import asyncio

from posthorn_dav.methods.propfind import check_count
from posthorn_dav.protocol import filters
from posthorn_dav.protocol.multistatus import Resource, multistatus
from posthorn_dav.protocol.paths import Path, Place
from posthorn_dav.protocol.xml import CALDAV, CARDDAV, Element, child
from posthorn_dav.reports import data
from posthorn_dav.request import Answer, Request, require
from posthorn_groupware import calendar_object, card
from posthorn_groupware.calendar_filter import CompFilter, TimeRange
from posthorn_model.errors import InvalidContent
from posthorn_model.groupware import Item


async def calendar_query(request: Request, root: Element) -> Answer:
    """Answer 207 with the matching calendar objects."""
    require(request.path, Place.COLLECTION)
    wants = data.wanted(root)
    wanted = filters.calendar(child(root, CALDAV, "filter"))
    component, span = first_filter(wanted)
    collection = await request.collection()
    candidates = await request.storage.groupware.items(
        request.account.id,
        collection.id,
        component=component,
        time_range=(span.start, span.end) if span is not None else None,
        limit=request.settings.max_results + 1,
    )
    check_count(request, len(candidates))
    found = await asyncio.to_thread(_matching_events, candidates, wanted)
    return Answer(207, multistatus([data.respond(request, item, wants) for item in found]))


def first_filter(wanted: CompFilter) -> tuple[str | None, TimeRange | None]:
    """What the store itself can filter by: one component that must be there, and its time range."""
    present = [inner for inner in wanted.comps if not inner.is_not_defined]
    if len(present) != 1:
        return None, None
    return present[0].name, present[0].time_range


def _matching_events(candidates: list[Item], wanted: CompFilter) -> list[Item]:
    found = []
    for item in candidates:
        try:
            if wanted.matches(calendar_object.parse(item.content)):
                found.append(item)
        except InvalidContent:
            # Stored by an older version with other rules: no filter can be judged on it.
            continue
    return found


async def addressbook_query(request: Request, root: Element) -> Answer:
    """Answer 207 with the matching cards; with a limit, 507 for the collection where there were more."""
    require(request.path, Place.COLLECTION)
    wants = data.wanted(root)
    wanted = filters.address_book(child(root, CARDDAV, "filter"))
    limit = filters.limit(root, CARDDAV)
    collection = await request.collection()
    candidates = await request.storage.groupware.items(
        request.account.id, collection.id, limit=request.settings.max_results + 1
    )
    check_count(request, len(candidates))
    found = [item for item in candidates if wanted.matches(card.parse(item.content))]
    resources = [data.respond(request, item, wants) for item in found[:limit]]
    if limit is not None and len(found) > limit:
        resources.append(Resource(_collection_url(request), status=507))
    return Answer(207, multistatus(resources))


def _collection_url(request: Request) -> str:
    path = request.path
    return Path(Place.COLLECTION, path.user, path.kind, path.collection).url()
