"""Live properties (RFC 4918 15, 3744, 4791, 5397, 6352, 6578): one function per kind of resource."""

from collections.abc import Iterable
from email.utils import format_datetime

from posthorn_dav.protocol.paths import Path, Place
from posthorn_dav.protocol.xml import APPLE, CALDAV, CALENDARSERVER, CARDDAV, DAV, Element, href, make, name
from posthorn_model.groupware import Collection, CollectionKind, Item
from posthorn_storage.directory import AccountRecord

COMPONENTS = ("VEVENT", "VTODO", "VJOURNAL")
COLLECTION_REPORTS = {
    CollectionKind.CALENDAR: [
        (CALDAV, "calendar-query"),
        (CALDAV, "calendar-multiget"),
        (CALDAV, "free-busy-query"),
        (DAV, "sync-collection"),
    ],
    CollectionKind.ADDRESS_BOOK: [
        (CARDDAV, "addressbook-query"),
        (CARDDAV, "addressbook-multiget"),
        (DAV, "sync-collection"),
    ],
}
# What allprop leaves out: properties that a client asks for by name (RFC 4918 9.1, RFC 4791 5.2).
ONLY_BY_NAME = frozenset(
    {
        name(DAV, "supported-report-set"),
        name(DAV, "current-user-privilege-set"),
        name(CALDAV, "supported-calendar-component-set"),
        name(CALDAV, "supported-calendar-data"),
        name(CALDAV, "supported-collation-set"),
        name(CALDAV, "max-resource-size"),
        name(CARDDAV, "supported-address-data"),
        name(CARDDAV, "max-resource-size"),
        name(DAV, "sync-token"),
        name(DAV, "owner"),
        name(DAV, "principal-collection-set"),
    }
)


def sync_token(collection: Collection) -> str:
    """The state of a collection as a URI (RFC 6578 4)."""
    return f"urn:posthorn:sync:{collection.id}:{collection.modseq}"


def _privileges(*names: str) -> Element:
    privileges = [make(DAV, "privilege", make(DAV, privilege)) for privilege in names]
    return make(DAV, "current-user-privilege-set", *privileges)


def _keyed(elements: Iterable[Element]) -> dict[str, Element]:
    return {str(element.tag): element for element in elements}


def _everywhere(account: AccountRecord) -> list[Element]:
    principal = Path(Place.PRINCIPAL, account.address).url()
    return [
        make(DAV, "current-user-principal", href(principal)),
        make(DAV, "principal-collection-set", href(Path(Place.PRINCIPALS).url())),
    ]


def of_folder(path: Path, account: AccountRecord) -> dict[str, Element]:
    """The root, the principals' folder, and the homes."""
    shown = {Place.ROOT: "Posthorn", Place.PRINCIPALS: "Principals"}.get(path.place, account.address)
    return _keyed(
        [
            *_everywhere(account),
            make(DAV, "resourcetype", make(DAV, "collection")),
            make(DAV, "displayname", shown),
            make(DAV, "supported-report-set"),
            _privileges("read", "bind", "unbind") if path.place is Place.HOME else _privileges("read"),
        ]
    )


def of_principal(account: AccountRecord) -> dict[str, Element]:
    """The account's principal: where its calendars and address books are (RFC 4791 6.2.1, RFC 6352 7.1.1)."""
    url = Path(Place.PRINCIPAL, account.address).url()
    calendars = Path(Place.HOME, account.address, CollectionKind.CALENDAR).url()
    books = Path(Place.HOME, account.address, CollectionKind.ADDRESS_BOOK).url()
    addresses = [href(f"mailto:{address}") for address in (account.address, *account.aliases)]
    return _keyed(
        [
            *_everywhere(account),
            make(DAV, "resourcetype", make(DAV, "collection"), make(DAV, "principal")),
            make(DAV, "displayname", account.display_name or account.address),
            make(DAV, "principal-URL", href(url)),
            make(CALDAV, "calendar-home-set", href(calendars)),
            make(CARDDAV, "addressbook-home-set", href(books)),
            make(CALDAV, "calendar-user-address-set", *addresses, href(url)),
            make(CALDAV, "calendar-user-type", "INDIVIDUAL"),
            make(DAV, "supported-report-set"),
            _privileges("read"),
        ]
    )


def of_collection(path: Path, account: AccountRecord, collection: Collection, max_size: int) -> dict[str, Element]:
    """A calendar or an address book, its dead properties included."""
    kind = collection.kind
    special = make(CALDAV, "calendar") if kind is CollectionKind.CALENDAR else make(CARDDAV, "addressbook")
    reports = [make(DAV, "supported-report", make(DAV, "report", make(*report))) for report in COLLECTION_REPORTS[kind]]
    found = [
        *_everywhere(account),
        make(DAV, "resourcetype", make(DAV, "collection"), special),
        make(DAV, "displayname", collection.display_name or collection.name),
        make(DAV, "owner", href(path.principal().url())),
        make(DAV, "sync-token", sync_token(collection)),
        make(CALENDARSERVER, "getctag", sync_token(collection)),
        make(DAV, "supported-report-set", *reports),
        _privileges("all", "read", "write", "write-properties", "write-content", "bind", "unbind", "read-acl"),
    ]
    found += _of_calendar(collection, max_size) if kind is CollectionKind.CALENDAR else _of_book(collection, max_size)
    return _keyed(found)


def _of_calendar(collection: Collection, max_size: int) -> list[Element]:
    components = []
    for component in COMPONENTS:
        element = make(CALDAV, "comp")
        element.set("name", component)
        components.append(element)
    data = make(CALDAV, "calendar-data")
    data.set("content-type", "text/calendar")
    data.set("version", "2.0")
    found = [
        make(CALDAV, "supported-calendar-component-set", *components),
        make(CALDAV, "supported-calendar-data", data),
        make(CALDAV, "max-resource-size", str(max_size)),
        make(
            CALDAV,
            "supported-collation-set",
            make(CALDAV, "supported-collation", "i;ascii-casemap"),
            make(CALDAV, "supported-collation", "i;unicode-casemap"),
            make(CALDAV, "supported-collation", "i;octet"),
        ),
    ]
    if collection.description:
        found.append(make(CALDAV, "calendar-description", collection.description))
    if collection.color:
        found.append(make(APPLE, "calendar-color", collection.color))
    return found


def _of_book(collection: Collection, max_size: int) -> list[Element]:
    types = []
    for version in ("3.0", "4.0"):
        element = make(CARDDAV, "address-data-type")
        element.set("content-type", "text/vcard")
        element.set("version", version)
        types.append(element)
    found = [make(CARDDAV, "supported-address-data", *types), make(CARDDAV, "max-resource-size", str(max_size))]
    if collection.description:
        found.append(make(CARDDAV, "addressbook-description", collection.description))
    return found


def of_item(path: Path, account: AccountRecord, item: Item) -> dict[str, Element]:
    """A calendar object or a card, without its data."""
    return _keyed(
        [
            *_everywhere(account),
            make(DAV, "resourcetype"),
            make(DAV, "getetag", f'"{item.etag}"'),
            make(DAV, "getcontenttype", item.content_type),
            make(DAV, "getcontentlength", str(len(item.content))),
            make(DAV, "getlastmodified", format_datetime(item.modified_at, usegmt=True)),
            make(DAV, "owner", href(path.principal().url())),
            _privileges("all", "read", "write", "write-content"),
        ]
    )
