"""Which of a resource's properties a client asked for, and the multi-status response that gives them."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

from lxml import etree

from posthorn_dav import properties
from posthorn_dav.protocol.multistatus import Resource
from posthorn_dav.protocol.paths import Path
from posthorn_dav.protocol.xml import DAV, Element, MalformedXml, child, children, name
from posthorn_dav.request import Request
from posthorn_model.groupware import Collection, Item


@dataclass(frozen=True, slots=True)
class Asked:
    """What a PROPFIND or REPORT asks for: named properties, or all of them (with or without values)."""

    names: tuple[str, ...] | None
    only_names: bool = False

    @property
    def everything(self) -> bool:
        """Whether no properties were named."""
        return self.names is None


def asked(root: Element | None) -> Asked:
    """Read the body of a PROPFIND, or the like part of a REPORT. Raises MalformedXml."""
    if root is None or child(root, DAV, "allprop") is not None:
        return Asked(None)
    if child(root, DAV, "propname") is not None:
        return Asked(None, only_names=True)
    prop = child(root, DAV, "prop")
    if prop is None:
        raise MalformedXml("the request names no properties: DAV:prop, DAV:allprop or DAV:propname is needed")
    return Asked(tuple(dict.fromkeys(str(element.tag) for element in children(prop))))


def of_collection(request: Request, path: Path, collection: Collection, wanted: Asked) -> Resource:
    """The response for a calendar or an address book."""
    live = properties.of_collection(path, request.account, collection, request.settings.max_resource_size)
    dead = {key: etree.fromstring(value) for key, value in collection.properties.items() if key not in live}
    return select(path, {**live, **dead}, wanted)


def of_item(request: Request, path: Path, item: Item, wanted: Asked, data: Element | None = None) -> Resource:
    """The response for an item; `data` is its calendar-data or address-data element when a report asks for it."""
    live = properties.of_item(path, request.account, item)
    if data is not None:
        live[str(data.tag)] = data
    return select(path, live, wanted)


def select(path: Path, available: Mapping[str, Element], wanted: Asked) -> Resource:
    """The propstats of one resource."""
    if wanted.names is None:
        shown = [e for key, e in available.items() if wanted.only_names or key not in properties.ONLY_BY_NAME]
        return Resource(path.url(), {200: [_named(e) if wanted.only_names else e for e in shown]})
    found = [available[key] for key in wanted.names if key in available]
    missing = [etree.Element(key) for key in wanted.names if key not in available]
    return Resource(path.url(), {200: found, 404: missing})


def _named(element: Element) -> Element:
    empty = deepcopy(element)
    empty.clear()
    return empty


GETETAG = name(DAV, "getetag")
