"""PROPPATCH (RFC 4918 9.2): all changes or none."""

from lxml import etree

from posthorn_dav.errors import Refused
from posthorn_dav.methods import writing
from posthorn_dav.protocol.multistatus import Resource, multistatus
from posthorn_dav.protocol.paths import Place
from posthorn_dav.protocol.xml import DAV, MalformedXml, child, children, name
from posthorn_dav.request import Answer, Request, require


async def proppatch(request: Request) -> Answer:
    """Answer 207 with a status per property; 424 for those that fell with a refused one."""
    require(request.path, Place.COLLECTION)
    root = await request.xml()
    if root is None or root.tag != name(DAV, "propertyupdate"):
        raise MalformedXml("the body of a PROPPATCH is DAV:propertyupdate")
    collection = await request.collection()
    named = [str(e.tag) for part in children(root) for e in children(child(part, DAV, "prop"))]
    refused = [key for key in named if _protected(key)]
    if refused:
        others = [key for key in named if key not in refused]
        found = {200: [], 403: _empty(refused), 424: _empty(others)}
        return Answer(207, multistatus([Resource(request.path.url(), found)]))
    changes = writing.read(root)
    dead = {**collection.properties, **{k: v for k, v in changes.dead.items() if v is not None}}
    for key, value in changes.dead.items():
        if value is None:
            dead.pop(key, None)
    await request.storage.groupware.update_collection(
        request.account.id,
        collection.id,
        display_name=changes.display_name,
        description=changes.description,
        color=changes.color,
        properties=dead,
    )
    return Answer(207, multistatus([Resource(request.path.url(), {200: _empty(named)})]))


def _protected(key: str) -> bool:
    try:
        writing.Changes().take(etree.Element(key), remove=False)
    except Refused:
        return True
    return key == writing.RESOURCE_TYPE


def _empty(keys: list[str]) -> list[etree._Element]:
    return [etree.Element(key) for key in dict.fromkeys(keys)]
