"""Which kind of document a part is, from what it is called: its media type, else the end of its file name.

Senders often call a document application/octet-stream, or by the name of its program: a type that says nothing leaves
the word to the file name. Nothing is decided here about the octets; each reader refuses what it cannot read.
"""

from typing import Literal

Kind = Literal["pdf", "package", "rtf", "html", "plain", "calendar", "card", "message"]

_OFFICE = "application/vnd.openxmlformats-officedocument."
_ODF = "application/vnd.oasis.opendocument."

_TYPES: dict[str, Kind] = {
    "application/pdf": "pdf", "application/x-pdf": "pdf",
    "application/rtf": "rtf", "text/rtf": "rtf", "application/x-rtf": "rtf",
    "text/html": "html", "application/xhtml+xml": "html",
    "text/calendar": "calendar", "application/ics": "calendar",
    "text/vcard": "card", "text/x-vcard": "card", "text/directory": "card",
    "message/rfc822": "message", "message/global": "message",
    "application/json": "plain", "application/csv": "plain",
}  # fmt: skip
_EXTENSIONS: dict[str, Kind] = {
    "pdf": "pdf",
    **dict.fromkeys(("docx", "docm", "dotx", "xlsx", "xlsm", "xltx", "pptx", "pptm", "potx", "ppsx"), "package"),
    **dict.fromkeys(("odt", "ods", "odp", "ott", "ots", "otp", "odg"), "package"),
    "rtf": "rtf",
    **dict.fromkeys(("html", "htm", "xhtml"), "html"),
    **dict.fromkeys(("txt", "text", "csv", "tsv", "md", "log", "json"), "plain"),
    "ics": "calendar",
    **dict.fromkeys(("vcf", "vcard"), "card"),
    "eml": "message",
}
_WORDS = ("ms-word", "msword", "ms-excel", "ms-powerpoint")


def kind_of(media_type: str, filename: str | None) -> Kind | None:
    """The kind of a document, or None when it is none that is read. `media_type` is without parameters, any case."""
    media_type = media_type.strip().lower()
    known = _TYPES.get(media_type)
    if known is not None:
        return known
    if media_type.startswith((_OFFICE, _ODF)):
        return "package"
    if media_type.startswith(("image/", "audio/", "video/", "multipart/")):
        return None
    # The old binary formats have the same names as what some senders call the new ones: the file name tells.
    extension = (filename or "").rpartition(".")[2].strip().lower()
    named = _EXTENSIONS.get(extension) if "." in (filename or "") else None
    if named is not None and not (named == "plain" and any(word in media_type for word in _WORDS)):
        return named
    return "plain" if media_type.startswith("text/") else None


def knows(content_type: str, filename: str | None) -> bool:
    """Whether a document of this Content-Type value and file name is of a kind that is read."""
    return kind_of(content_type.partition(";")[0], filename) is not None
