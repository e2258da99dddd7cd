"""One DAV request as its method sees it: who asks, for what, with which headers and body."""

from dataclasses import dataclass

from starlette.requests import Request as HttpRequest

from posthorn_dav.errors import Refused
from posthorn_dav.protocol import conditions, xml
from posthorn_dav.protocol.paths import Path, Place
from posthorn_dav.settings import DavSettings
from posthorn_model.errors import NotFound
from posthorn_model.groupware import Collection, Item
from posthorn_node.bodies import read_bounded
from posthorn_storage import Storage
from posthorn_storage.directory import AccountRecord


@dataclass(frozen=True, slots=True)
class Request:
    """An authenticated request. `path` has been checked to belong to `account`."""

    http: HttpRequest
    account: AccountRecord
    path: Path
    storage: Storage
    settings: DavSettings

    def header(self, name: str) -> str | None:
        """A request header, or None."""
        found: str | None = self.http.headers.get(name)
        return found

    def depth(self, default: str) -> int | None:
        """The Depth header: 0, 1, or None for infinity. Raises Refused."""
        value = (self.header("depth") or default).strip().lower()
        if value not in ("0", "1", "infinity"):
            raise Refused(400, "Depth must be 0, 1 or infinity (RFC 4918 10.2)")
        return None if value == "infinity" else int(value)

    def conditions(self) -> tuple[list[str] | None, list[str] | None]:
        """The tags of If-Match and If-None-Match. Raises BadCondition."""
        return conditions.tags(self.header("if-match")), conditions.tags(self.header("if-none-match"))

    async def body(self, limit: int) -> bytes:
        """The request body. Raises Refused (413) when it is larger than `limit` bytes."""
        found = await read_bounded(self.http.stream(), limit)
        if found is None:
            raise Refused(413, f"the request body is larger than {limit} bytes")
        return found

    async def xml(self) -> xml.Element | None:
        """The XML request body, None when empty. Raises MalformedXml, Refused."""
        return xml.parse(await self.body(self.settings.max_request_size))

    async def collection(self) -> Collection:
        """The collection of the path. Raises CollectionNotFound."""
        assert self.path.kind is not None
        return await self.storage.groupware.collection(self.account.id, self.path.kind, self.path.collection)

    async def item(self) -> tuple[Collection, Item]:
        """The item of the path with its collection. Raises NotFound."""
        found = await self.collection()
        items = await self.storage.groupware.items(
            self.account.id, found.id, names=[self.path.item], decides=self.http.method != "GET"
        )
        if not items:
            raise NotFound
        return found, items[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a method answers."""

    status: int
    body: bytes = b""
    content_type: str = "application/xml; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


def require(path: Path, *places: Place) -> None:
    """Raise Refused (405) when the path is none of these places."""
    if path.place not in places:
        raise Refused(405, "this method does not work on that kind of resource")
