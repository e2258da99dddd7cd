"""One document to its text, by the reader for its kind."""

from posthorn_mail_format.parameters import decode_parameters, parse_value
from posthorn_text_extract import package, rtf, text_kinds
from posthorn_text_extract.errors import Unreadable
from posthorn_text_extract.kinds import Kind, kind_of
from posthorn_text_extract.limits import DEFAULT, Limits
from posthorn_text_extract.reading import Enough, Reading

MAX_MESSAGE_DEPTH = 3
"""Messages attached to messages attached to ...; what is deeper is not read."""


def extract(content_type: str, filename: str | None, data: bytes, *, limits: Limits = DEFAULT) -> str | None:
    """Return the readable text of a document, None when it is of no kind that is read.

    `content_type` is the field's value, with its parameters where there are any; `data` is decoded (no base64).
    At most limits.characters. Raises Unreadable for broken or locked documents. The limits of processor time and
    memory are those of a worker process: hostile documents are for `Extractors`.
    """
    media_type, raw = parse_value(content_type)
    kind = kind_of(media_type, filename)
    if kind is None:
        return None
    if len(data) > limits.input_octets:
        raise Unreadable("the document is too large", size=len(data))
    reading = Reading(limits)
    try:
        _read(kind, data, decode_parameters(raw).get("charset"), reading, 0)
    except Enough:
        return reading.after_limit()
    return reading.text()


def _read(kind: Kind, data: bytes, charset: str | None, reading: Reading, depth: int) -> None:
    if kind == "pdf":
        # The one reader that takes long to import, and nothing else needs it.
        from posthorn_text_extract import pdf

        pdf.read(data, reading)
    elif kind == "package":
        package.read(data, reading)
    elif kind == "rtf":
        rtf.read(data, reading)
    elif kind == "message":
        _message(data, reading, depth)
    else:
        text_kinds.READERS[kind](data, charset, reading)


def _message(data: bytes, reading: Reading, depth: int) -> None:
    """An attached message: its subject and people, its text, and its own attachments down to MAX_MESSAGE_DEPTH."""
    for part in text_kinds.read_message(data, reading):
        kind = kind_of(part.media_type, part.name)
        if kind is None or depth >= MAX_MESSAGE_DEPTH:
            continue
        reading.check_time()
        reading.add("\n")
        try:
            _read(kind, part.data, part.charset, reading, depth + 1)
        except Unreadable:
            continue
