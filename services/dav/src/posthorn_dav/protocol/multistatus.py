"""Multi-status answers (RFC 4918 13) and error bodies with preconditions (RFC 4918 16)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from posthorn_dav.protocol.xml import DAV, Element, dump, href, make

REASONS = {
    200: "OK",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    424: "Failed Dependency",
    507: "Insufficient Storage",
}


@dataclass(frozen=True, slots=True)
class Resource:
    """One DAV:response: properties by status, or one status for the whole resource."""

    url: str
    properties: Mapping[int, Sequence[Element]] | None = None
    status: int | None = None


def status_line(status: int) -> str:
    """As DAV:status wants it."""
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"


def multistatus(resources: Iterable[Resource], sync_token: str | None = None) -> bytes:
    """A whole DAV:multistatus document."""
    root = make(DAV, "multistatus")
    for resource in resources:
        root.append(_response(resource))
    if sync_token is not None:
        root.append(make(DAV, "sync-token", sync_token))
    return dump(root)


def _response(resource: Resource) -> Element:
    response = make(DAV, "response", href(resource.url))
    if resource.status is not None:
        response.append(make(DAV, "status", status_line(resource.status)))
    for status, properties in (resource.properties or {}).items():
        if properties or status == 200:
            prop = make(DAV, "prop", *properties)
            response.append(make(DAV, "propstat", prop, make(DAV, "status", status_line(status))))
    return response


def error_body(namespace: str, condition: str, *inner: Element) -> bytes:
    """A DAV:error document naming the violated precondition."""
    return dump(make(DAV, "error", make(namespace, condition, *inner)))
