"""The extensions that scripts may ask for, by the names of RFC 5228 6.2 and the IANA registry."""

from collections.abc import Mapping
from types import MappingProxyType

EXTENSIONS = frozenset(
    {
        "body", "comparator-i;ascii-casemap", "comparator-i;ascii-numeric", "comparator-i;octet", "copy", "date",
        "duplicate", "editheader", "enclose", "encoded-character", "enotify", "envelope", "environment", "ereject",
        "extracttext", "fileinto", "foreverypart", "ihave", "imap4flags", "include", "index", "mailbox", "mime",
        "regex", "reject", "relational", "replace", "spamtest", "spamtestplus", "special-use", "subaddress",
        "vacation", "vacation-seconds", "variables", "virustest",
    }
)  # fmt: skip

IMPLIED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"vacation-seconds": ("vacation",), "spamtestplus": ("spamtest",)}
)
"""What an extension brings along (RFC 6131 2, RFC 5235 2.2.2)."""

NOTIFY_METHODS = ("mailto",)
"""Schemes of `notify` (RFC 5435 3.2)."""
