"""SASLprep (RFC 4013): one form for the many ways to type the same name or password.

What Unicode 3.2 did not know is let through as it is, as a client that prepares a query does (RFC 3454 7): else nobody
could have an emoji in a password. It judges neither length nor whether a name exists.
"""

import stringprep
import unicodedata
from collections.abc import Callable, Sequence

_PROHIBITED: Sequence[Callable[[str], bool]] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def prepared(text: str) -> str | None:
    """The prepared form of a name or password; None for what RFC 4013 prohibits."""
    if text.isascii():
        return text if text.isprintable() else None
    mapped = "".join(
        " " if stringprep.in_table_c12(each) else each for each in text if not stringprep.in_table_b1(each)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    if any(is_prohibited(each) for each in normal for is_prohibited in _PROHIBITED) or not _one_direction(normal):
        return None
    return normal


def password_form(password: str) -> str:
    """The form a password is hashed in: the prepared one, or as it is where RFC 4013 has none for it."""
    found = prepared(password)
    return password if found is None else found


def _one_direction(text: str) -> bool:
    """RFC 3454 6: text from right to left is so from its first to its last letter, with none of the other kind."""
    right_to_left = [stringprep.in_table_d1(each) for each in text]
    if not any(right_to_left):
        return True
    return right_to_left[0] and right_to_left[-1] and not any(stringprep.in_table_d2(each) for each in text)
