"""Which entry of a table by sites holds for one: the site's own, that of the nearest "*.domain" above it, or "*"."""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def at_site(table: Mapping[str, T], site: str) -> T | None:
    """The entry that names the site most closely; None when there is none. Names and sites are in lower case."""
    if site in table:
        return table[site]
    above = site
    while above:
        _, _, above = above.partition(".")
        if above and f"*.{above}" in table:
            return table[f"*.{above}"]
    return table.get("*")
