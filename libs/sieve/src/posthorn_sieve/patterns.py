"""Regular expressions (draft-ietf-sieve-regex-01) by RE2: its time is linear in the text, whatever the pattern says."""

from collections.abc import Sequence
from functools import lru_cache

import re2

from posthorn_sieve.errors import InvalidScript

MAX_GROUPS = 32


@lru_cache(maxsize=512)
def _compiled(pattern: str, memory: int, case: bool) -> "re2._Regexp[str]":
    options = re2.Options()
    options.log_errors = False
    options.longest_match = True  # as POSIX has it
    options.dot_nl = True
    options.max_mem = memory
    options.case_sensitive = case
    return re2.compile(pattern, options)


def check(pattern: str, *, length: int, memory: int) -> None:
    """Raise InvalidScript, without a place, for what is no regular expression or too large a one."""
    if len(pattern) > length:
        raise InvalidScript(f"a regular expression is longer than {length} characters")
    try:
        groups = _compiled(pattern, memory, True).groups
    except re2.error as error:
        reason = error.args[0] if error.args else "not understood"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise InvalidScript(f"that is not a regular expression: {text[:200]}") from error
    except UnicodeEncodeError as error:
        raise InvalidScript("that is not a regular expression: it has characters that are none") from error
    if groups > MAX_GROUPS:
        raise InvalidScript(f"a regular expression has more than {MAX_GROUPS} groups")


def search(pattern: str, text: str, *, case: bool, memory: int) -> Sequence[str] | None:
    """Return what the pattern and its groups match in `text`, "" for a group that takes no part; None for no match."""
    found = _compiled(pattern, memory, case).search(text.encode("utf-8", "replace").decode())
    return None if found is None else [found[0], *(group or "" for group in found.groups())]
