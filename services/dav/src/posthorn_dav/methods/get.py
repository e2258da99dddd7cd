"""GET and HEAD (RFC 9110 9.3): the content of an item; a collection answers with a line for people."""

from posthorn_dav.protocol.paths import Place
from posthorn_dav.request import Answer, Request
from posthorn_model.errors import NotFound


async def get(request: Request) -> Answer:
    """Answer 200, or 304 when If-None-Match names the current tag."""
    if request.path.place is not Place.ITEM:
        if request.path.place is Place.COLLECTION:
            await request.collection()
        return Answer(200, b"A WebDAV collection: use a calendar or contacts client.\n", "text/plain; charset=utf-8")
    _, item = await request.item()
    if_match, if_none_match = request.conditions()
    etag = ("ETag", f'"{item.etag}"')
    if if_match is not None and item.etag not in if_match and "*" not in if_match:
        raise NotFound("the resource is no longer the one that If-Match names")
    if if_none_match is not None and (item.etag in if_none_match or "*" in if_none_match):
        return Answer(304, headers=(etag,))
    modified = item.modified_at.strftime("%a, %d %b %Y %H:%M:%S GMT")
    return Answer(200, item.content, item.content_type, (etag, ("Last-Modified", modified)))
