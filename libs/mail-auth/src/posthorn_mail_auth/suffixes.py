"""Organizational domains by the public suffix list (RFC 7489 3.2)."""

from functools import lru_cache

from publicsuffixlist import PublicSuffixList


class PublicSuffixes:
    """The list that comes with the package, or another one in its format (publicsuffix.org/list)."""

    def __init__(self, data: bytes | None = None) -> None:
        """Reads the list: about 50 ms. Raises ValueError for data that cannot be one."""
        if data is not None and b"===BEGIN ICANN DOMAINS===" not in data:
            raise ValueError("not a public suffix list: no line ===BEGIN ICANN DOMAINS===")
        self._suffix_and_one = lru_cache(4096)(PublicSuffixList(data).privatesuffix)

    def organizational_domain(self, domain: str) -> str:
        """The public suffix and one label more; a public suffix itself is its own. In lower case, A-labels."""
        domain = domain.lower().removesuffix(".")
        return self._suffix_and_one(domain) or domain
