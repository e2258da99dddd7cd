"""DELETE (RFC 4918 9.6) of an item or of a whole collection."""

from posthorn_dav.errors import Refused
from posthorn_dav.protocol import conditions
from posthorn_dav.protocol.paths import Place
from posthorn_dav.request import Answer, Request, require


async def delete(request: Request) -> Answer:
    """Answer 204."""
    require(request.path, Place.COLLECTION, Place.ITEM)
    if request.path.place is Place.COLLECTION:
        collection = await request.collection()
        await request.storage.groupware.delete_collection(request.account.id, collection.id)
        return Answer(204)
    collection, item = await request.item()
    if_match, if_none_match = request.conditions()
    if not conditions.allowed(item.etag, if_match, if_none_match):
        raise Refused(412, "the resource is not in the state that the request expects")
    tag = item.etag if if_match is not None else None
    await request.storage.groupware.delete_item(request.account.id, collection.id, item.name, if_match=tag)
    return Answer(204)
