"""Tags that several words share."""

from posthorn_sieve.program import Kind, Tag

MATCH = {
    "comparator": Tag(Kind.CONSTANT),
    "is": Tag(group="match"),
    "contains": Tag(group="match"),
    "matches": Tag(group="match"),
    "regex": Tag(needs="regex", group="match"),
    "count": Tag(Kind.CONSTANT, needs="relational", group="match"),
    "value": Tag(Kind.CONSTANT, needs="relational", group="match"),
}
"""RFC 5228 2.7, RFC 5231 3, draft-ietf-sieve-regex-01 2."""

ADDRESS_PART = {
    "all": Tag(group="address part"),
    "localpart": Tag(group="address part"),
    "domain": Tag(group="address part"),
    "user": Tag(needs="subaddress", group="address part"),
    "detail": Tag(needs="subaddress", group="address part"),
}
"""RFC 5228 2.7.4, RFC 5233 4."""

INDEX = {"index": Tag(Kind.NUMBER, needs="index"), "last": Tag(needs="index")}
"""RFC 5260 6."""

MIME = {"mime": Tag(needs="mime"), "anychild": Tag(needs="mime")}
MIME_PART = {
    "type": Tag(needs="mime", group="mime part"),
    "subtype": Tag(needs="mime", group="mime part"),
    "contenttype": Tag(needs="mime", group="mime part"),
    "param": Tag(Kind.TEXTS, needs="mime", group="mime part"),
}
"""RFC 5703 4."""

FLAGS = {"flags": Tag(Kind.TEXTS, needs="imap4flags")}
"""RFC 5232 5."""
