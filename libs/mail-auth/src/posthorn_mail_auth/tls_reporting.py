"""Reads the record by which a domain asks for TLS reports (RFC 8460 3). Pure."""

from collections.abc import Sequence
from typing import Final

from posthorn_mail_auth.tags import MalformedTags, parse_tags

MAX_URIS: Final = 5
MAX_URI: Final = 1000


def reports_to(texts: Sequence[bytes]) -> tuple[str, ...]:
    """The URIs in the records at _smtp._tls, mailto and https alone; none where nobody asks, or several records do."""
    found = [text for text in texts if text.startswith(b"v=TLSRPTv1;")]
    if len(found) != 1:
        return ()
    try:
        named = parse_tags(found[0]).get("rua", "").split(",")
    except MalformedTags:
        return ()
    uris = (uri.strip() for uri in named)
    good = (uri for uri in uris if uri.lower().startswith(("mailto:", "https://")) and len(uri) <= MAX_URI)
    return tuple(dict.fromkeys(good))[:MAX_URIS]
