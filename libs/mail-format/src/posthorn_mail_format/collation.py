"""The order of texts for sorting: i;unicode-casemap (RFC 5051), without regard to case."""

import unicodedata


def casemap(text: str) -> bytes:
    """The octets by which a text is compared: each character's simple title case, decomposed, in UTF-8 (RFC 5051 2)."""
    if text.isascii():
        return text.upper().encode()
    return unicodedata.normalize("NFKD", "".join(map(_title, text))).encode("utf-8", "replace")


def _title(character: str) -> str:
    """The simple title case, which is one character; where only the full one differs (as of "ß") it stays itself."""
    title = character.title()
    return title if len(title) == 1 else character
