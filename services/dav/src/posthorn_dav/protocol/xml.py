"""XML as WebDAV uses it: bounded parsing of request bodies and building of answers.

Refuses document types, entities, and documents that are too deep or have too many elements (RFC 4918 20.6).
"""

import re
from collections.abc import Iterator

from lxml import etree

DAV = "DAV:"
CALDAV = "urn:ietf:params:xml:ns:caldav"
CARDDAV = "urn:ietf:params:xml:ns:carddav"
CALENDARSERVER = "http://calendarserver.org/ns/"
APPLE = "http://apple.com/ns/ical/"
NAMESPACES = {"D": DAV, "C": CALDAV, "A": CARDDAV, "CS": CALENDARSERVER, "I": APPLE}

MAX_DEPTH = 32
MAX_ELEMENTS = 20_000

Element = etree._Element


class MalformedXml(Exception):
    """The request body is not acceptable XML; the text says why."""


def name(namespace: str, local: str) -> str:
    """A Clark name: "{namespace}local"."""
    return f"{{{namespace}}}{local}"


def parse(body: bytes) -> Element | None:
    """Parse a request body; None when it is empty. Raises MalformedXml."""
    if not body.strip():
        return None
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise MalformedXml(f"not well-formed XML: {error}") from error
    if root.getroottree().docinfo.doctype:  # type: ignore[union-attr,unused-ignore]
        raise MalformedXml("a document type is not accepted")
    _check_size(root)
    return root


def _check_size(root: Element) -> None:
    count = 0
    level: list[Element] = [root]
    for _ in range(MAX_DEPTH):
        count += len(level)
        if count > MAX_ELEMENTS:
            raise MalformedXml(f"more than {MAX_ELEMENTS} elements")
        level = [child for parent in level for child in parent]
        if not level:
            return
    raise MalformedXml(f"nested deeper than {MAX_DEPTH} elements")


def children(parent: Element | None) -> Iterator[Element]:
    """The child elements; none of None."""
    if parent is not None:
        yield from (child for child in parent if isinstance(child.tag, str))


def child(parent: Element | None, namespace: str, local: str) -> Element | None:
    """The first child of that name, or None."""
    return None if parent is None else parent.find(name(namespace, local))


def text(element: Element | None) -> str:
    """The text of an element, "" of None."""
    return (element.text or "").strip() if element is not None else ""


def make(namespace: str, local: str, *inner: Element | str) -> Element:
    """A new element holding text or elements. Characters that XML cannot carry are replaced."""
    element = etree.Element(name(namespace, local), nsmap=NAMESPACES)
    for part in inner:
        if isinstance(part, str):
            element.text = _carriable(part)
        else:
            element.append(part)
    return element


def href(path: str) -> Element:
    """A DAV:href of an already percent-encoded path."""
    return make(DAV, "href", path)


def dump(root: Element) -> bytes:
    """The document as bytes, in UTF-8 with a declaration."""
    etree.cleanup_namespaces(root)
    return etree.tostring(root, xml_declaration=True, encoding="utf-8")


def fragment(element: Element) -> str:
    """One element as text, for a dead property to be stored."""
    return etree.tostring(element, encoding="unicode", with_tail=False)


# What XML 1.0 cannot carry at all (section 2.2): control characters and lone surrogates.
_FORBIDDEN = re.compile("[^\\t\\n\\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _carriable(value: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", value)
