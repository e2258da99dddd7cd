"""sync-collection (RFC 6578 3): what changed in a collection since a token."""

import re

from posthorn_dav.errors import Refused
from posthorn_dav.properties import sync_token
from posthorn_dav.protocol import filters
from posthorn_dav.protocol.multistatus import Resource, multistatus
from posthorn_dav.protocol.paths import Path, Place
from posthorn_dav.protocol.xml import DAV, Element, child, text
from posthorn_dav.reports import data
from posthorn_dav.request import Answer, Request, require
from posthorn_model.groupware import Collection
from posthorn_model.ids import Modseq

_TOKEN = re.compile(r"urn:posthorn:sync:(\d{1,19}):(\d{1,19})")


async def sync_collection(request: Request, root: Element) -> Answer:
    """Answer 207 with changed items, 404 for removed ones, and the new token."""
    require(request.path, Place.COLLECTION)
    if request.depth("0") != 0 and text(child(root, DAV, "sync-level")) != "1":
        raise Refused(400, "sync-level must be 1 (RFC 6578 3.3)")
    wants = data.wanted(root)
    # The token is read before the changes: what is committed in between is reported now and once more next time.
    collection = await request.collection()
    since = _since(text(child(root, DAV, "sync-token")), collection)
    items = await request.storage.groupware.items(request.account.id, collection.id, since=since)
    removed = await request.storage.groupware.removed(request.account.id, collection.id, since) if since else []
    limit = min(filters.limit(root, DAV) or request.settings.max_results, request.settings.max_results)
    if len(items) + len(removed) > limit:
        raise Refused(507, "more changes than the limit", (DAV, "number-of-matches-within-limits"))
    path = request.path
    present = {item.name for item in items}
    found = [data.respond(request, item, wants) for item in items]
    gone = [name for name in removed if name not in present]
    found += [Resource(Path(Place.ITEM, path.user, path.kind, path.collection, n).url(), status=404) for n in gone]
    return Answer(207, multistatus(found, sync_token(collection)))


def _since(token: str, collection: Collection) -> Modseq:
    if not token:
        return Modseq(0)
    match = _TOKEN.fullmatch(token)
    if match is None or int(match[1]) != collection.id or int(match[2]) > collection.modseq:
        raise Refused(403, "that sync-token is not one of this collection", (DAV, "valid-sync-token"))
    return Modseq(int(match[2]))
