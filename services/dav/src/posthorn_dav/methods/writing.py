"""What MKCOL, MKCALENDAR and PROPPATCH share: settable properties and how they are read from a request."""

from dataclasses import dataclass, field

from posthorn_dav.errors import Refused
from posthorn_dav.protocol.xml import APPLE, CALDAV, CARDDAV, DAV, Element, child, children, fragment, name, text

DISPLAY_NAME = name(DAV, "displayname")
DESCRIPTIONS = (name(CALDAV, "calendar-description"), name(CARDDAV, "addressbook-description"))
COLOR = name(APPLE, "calendar-color")
RESOURCE_TYPE = name(DAV, "resourcetype")
# Accepted when a calendar is made, but always what the service says: any of the components may be stored.
IGNORED = (name(CALDAV, "supported-calendar-component-set"),)
PROTECTED_NAMESPACE = (DAV,)
MAX_VALUE = 64_000


@dataclass(slots=True)
class Changes:
    """Property changes read from a request: the store's own fields, and dead properties (None: remove)."""

    display_name: str | None = None
    description: str | None = None
    color: str | None = None
    dead: dict[str, str | None] = field(default_factory=dict)
    types: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def take(self, element: Element, *, remove: bool) -> None:
        """Take one property over. Raises Refused for one that is protected or too large."""
        key = str(element.tag)
        self.names.append(key)
        value = "" if remove else text(element)
        if len(value) > MAX_VALUE:
            raise Refused(507, "a property value is too large")
        if key == RESOURCE_TYPE:
            self.types = [str(inner.tag) for inner in children(element)]
        elif key == DISPLAY_NAME:
            self.display_name = value
        elif key in DESCRIPTIONS:
            self.description = value
        elif key == COLOR:
            self.color = value
        elif key in IGNORED:
            return
        elif key.startswith("{DAV:}"):
            raise Refused(403, f"{key} cannot be changed", (DAV, "cannot-modify-protected-property"))
        else:
            self.dead[key] = None if remove else fragment(element)


def read(root: Element | None) -> Changes:
    """The changes of all DAV:set and DAV:remove parts, in their order."""
    changes = Changes()
    for instruction in children(root):
        if instruction.tag in (name(DAV, "set"), name(DAV, "remove")):
            for element in children(child(instruction, DAV, "prop")):
                changes.take(element, remove=instruction.tag == name(DAV, "remove"))
    return changes
