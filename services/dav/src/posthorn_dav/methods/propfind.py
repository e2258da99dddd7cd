"""PROPFIND (RFC 4918 9.1): properties of a resource and of what it holds, never deeper than one level."""

from posthorn_dav import answers, properties
from posthorn_dav.answers import Asked
from posthorn_dav.errors import Refused
from posthorn_dav.protocol.multistatus import Resource, multistatus
from posthorn_dav.protocol.paths import Path, Place
from posthorn_dav.protocol.xml import DAV, MalformedXml, name
from posthorn_dav.request import Answer, Request
from posthorn_model.groupware import CollectionKind


async def propfind(request: Request) -> Answer:
    """Answer 207 with one response per resource."""
    depth = request.depth("infinity")
    if depth is None:
        raise Refused(403, "Depth: infinity is not answered", (DAV, "propfind-finite-depth"))
    root = await request.xml()
    if root is not None and root.tag != name(DAV, "propfind"):
        raise MalformedXml("the body of a PROPFIND is DAV:propfind")
    wanted = answers.asked(root)
    found = await _resources(request, wanted, deep=depth == 1)
    return Answer(207, multistatus(found))


async def _resources(request: Request, wanted: Asked, *, deep: bool) -> list[Resource]:
    path, account = request.path, request.account
    match path.place:
        case Place.ROOT:
            inner = [Path(Place.PRINCIPALS), *(Path(Place.HOME, account.address, kind) for kind in _KINDS)]
            folders = [path, *inner] if deep else [path]
            return [answers.select(p, properties.of_folder(p, account), wanted) for p in folders]
        case Place.PRINCIPALS:
            found = [answers.select(path, properties.of_folder(path, account), wanted)]
            return [*found, _principal(request, wanted)] if deep else found
        case Place.PRINCIPAL:
            return [_principal(request, wanted)]
        case Place.HOME:
            return await _home(request, wanted, deep=deep)
        case Place.COLLECTION:
            return await _collection(request, wanted, deep=deep)
        case Place.ITEM:
            _, item = await request.item()
            return [answers.of_item(request, path, item, wanted)]


_KINDS = (CollectionKind.CALENDAR, CollectionKind.ADDRESS_BOOK)


def _principal(request: Request, wanted: Asked) -> Resource:
    path = Path(Place.PRINCIPAL, request.account.address)
    return answers.select(path, properties.of_principal(request.account), wanted)


async def _home(request: Request, wanted: Asked, *, deep: bool) -> list[Resource]:
    path = request.path
    found = [answers.select(path, properties.of_folder(path, request.account), wanted)]
    if deep:
        for collection in await request.storage.groupware.collections(request.account.id, path.kind):
            inner = Path(Place.COLLECTION, path.user, path.kind, collection.name)
            found.append(answers.of_collection(request, inner, collection, wanted))
    return found


async def _collection(request: Request, wanted: Asked, *, deep: bool) -> list[Resource]:
    path = request.path
    collection = await request.collection()
    found = [answers.of_collection(request, path, collection, wanted)]
    if deep:
        items = await request.storage.groupware.items(
            request.account.id, collection.id, limit=request.settings.max_results + 1
        )
        check_count(request, len(items))
        for item in items:
            inner = Path(Place.ITEM, path.user, path.kind, path.collection, item.name)
            found.append(answers.of_item(request, inner, item, wanted))
    return found


def check_count(request: Request, count: int) -> None:
    """Raise Refused (507) when an answer would hold more resources than the limit."""
    if count > request.settings.max_results:
        raise Refused(507, "too many resources for one answer", (DAV, "number-of-matches-within-limits"))
