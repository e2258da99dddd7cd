"""The URL space: principals /dav/pal/USER/, calendars /dav/cal/USER/NAME/ITEM, address books /dav/card/..."""

from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import quote, unquote, urlsplit

from posthorn_model.groupware import CollectionKind

ROOT = "/dav/"
MAX_SEGMENT = 255


class Place(Enum):
    """What kind of resource a path names."""

    ROOT = auto()
    PRINCIPALS = auto()
    PRINCIPAL = auto()
    HOME = auto()
    COLLECTION = auto()
    ITEM = auto()


@dataclass(frozen=True, slots=True)
class Path:
    """A parsed path. `kind` is set from HOME on; `user` from PRINCIPAL on; `collection` and `item` where they apply."""

    place: Place
    user: str = ""
    kind: CollectionKind | None = None
    collection: str = ""
    item: str = ""

    def url(self) -> str:
        """The percent-encoded path; collections end with a slash."""
        segments = {
            Place.ROOT: [],
            Place.PRINCIPALS: ["pal"],
            Place.PRINCIPAL: ["pal", self.user],
        }.get(self.place, [self.kind.value if self.kind else "", self.user, self.collection, self.item])
        joined = "/".join(quote(segment, safe="@") for segment in segments if segment)
        slash = "" if self.place is Place.ITEM or not joined else "/"
        return ROOT + joined + slash

    def principal(self) -> "Path":
        """The principal of this path's user."""
        return Path(Place.PRINCIPAL, self.user)


def parse(raw: str) -> Path | None:
    """Read a percent-encoded path or absolute URL; None when it is outside the URL space."""
    path = urlsplit(raw).path
    if path.rstrip("/") + "/" == ROOT:
        return Path(Place.ROOT)
    if not path.startswith(ROOT):
        return None
    segments = [unquote(segment) for segment in path[len(ROOT) :].rstrip("/").split("/")]
    if any(not s or s in (".", "..") or "/" in s or "\0" in s or len(s.encode()) > MAX_SEGMENT for s in segments):
        return None
    return _place(segments)


def _place(segments: list[str]) -> Path | None:
    first, rest = segments[0], segments[1:]
    if first == "pal":
        if len(rest) > 1:
            return None
        return Path(Place.PRINCIPAL, rest[0].lower()) if rest else Path(Place.PRINCIPALS)
    if first not in (CollectionKind.CALENDAR, CollectionKind.ADDRESS_BOOK) or not 1 <= len(rest) <= 3:
        return None
    place = (Place.HOME, Place.COLLECTION, Place.ITEM)[len(rest) - 1]
    user, collection, item = (*rest, "", "")[:3]
    return Path(place, user.lower(), CollectionKind(first), collection, item)
