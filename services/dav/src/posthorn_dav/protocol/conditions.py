"""Conditional requests on entity tags (RFC 9110 13.1)."""

import re

_TAG = re.compile(r'\s*(?:(W/)?"([^"]*)"|(\*))\s*(?:,|$)')


class BadCondition(Exception):
    """An If-Match or If-None-Match header that cannot be read."""


def tags(header: str | None) -> list[str] | None:
    """The entity tags of a header without their quotes; "*" stands for any; None when there is no header.

    Weak tags are left out: If-Match compares strongly, and this service makes only strong tags. Raises BadCondition.
    """
    if header is None:
        return None
    found: list[str] = []
    position = 0
    while position < len(header):
        match = _TAG.match(header, position)
        if match is None:
            raise BadCondition(header[:80])
        if not match[1]:
            found.append(match[3] or match[2])
        position = match.end()
    return found


def allowed(etag: str | None, if_match: list[str] | None, if_none_match: list[str] | None) -> bool:
    """Whether a change to a resource with this tag (None: there is no resource) may go ahead."""
    if if_match is not None and (etag is None or not ("*" in if_match or etag in if_match)):
        return False
    return not (if_none_match is not None and etag is not None and ("*" in if_none_match or etag in if_none_match))
