"""calendar-multiget and addressbook-multiget (RFC 4791 7.9, RFC 6352 8.7): the named items in one answer."""

from posthorn_dav.methods.propfind import check_count
from posthorn_dav.protocol import paths
from posthorn_dav.protocol.multistatus import Resource, multistatus
from posthorn_dav.protocol.paths import Path, Place
from posthorn_dav.protocol.xml import DAV, Element, name, text
from posthorn_dav.reports import data
from posthorn_dav.request import Answer, Request, require


async def multiget(request: Request, root: Element) -> Answer:
    """Answer 207; an href that names nothing in this collection gets 404."""
    require(request.path, Place.COLLECTION)
    collection = await request.collection()
    wants = data.wanted(root)
    hrefs = [text(element) for element in root.findall(name(DAV, "href"))]
    check_count(request, len(hrefs))
    parsed = {href: paths.parse(href) for href in hrefs}
    names = [path.item for path in parsed.values() if path is not None and _inside(path, request.path)]
    found = {}
    if names:
        items = await request.storage.groupware.items(request.account.id, collection.id, names=names)
        found = {item.name: item for item in items}
    answers = []
    for href, path in parsed.items():
        item = found.get(path.item) if path is not None and _inside(path, request.path) else None
        answers.append(Resource(href, status=404) if item is None else data.respond(request, item, wants))
    return Answer(207, multistatus(answers))


def _inside(path: Path, collection: Path) -> bool:
    if path.place is not Place.ITEM:
        return False
    return (path.user, path.kind, path.collection) == (collection.user, collection.kind, collection.collection)
