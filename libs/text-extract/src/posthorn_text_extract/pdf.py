"""Text of PDF (ISO 32000) by pypdf, page by page.

pypdf is plain Python: a hostile file can take time and memory, which the worker bounds, but not the process. It reads
no image here, so none of its image decoders and helper programs is ever asked.
"""

from io import BytesIO

from pypdf import Configuration, PdfReader, apply_configuration
from pypdf.errors import PyPdfError

from posthorn_text_extract.errors import Unreadable
from posthorn_text_extract.reading import Enough, Reading

_CONFIGURATION = Configuration(
    zlib_maximum_output_length=33_554_432,
    lzw_maximum_output_length=33_554_432,
    run_length_maximum_output_length=33_554_432,
    array_based_stream_maximum_output_length=33_554_432,
    jbig2dec_binary=None,
)
_FIELDS = ("title", "author", "subject", "keywords")


def read(data: bytes, reading: Reading) -> None:
    """Gather title, author, subject, keywords and the text of all pages; pages that cannot be read are left out."""
    with apply_configuration(_CONFIGURATION):
        try:
            reader = PdfReader(BytesIO(data), strict=False)
            if reader.is_encrypted and not reader.decrypt(""):
                raise Unreadable("the document is locked with a password")
            count = min(len(reader.pages), reading.limits.pages)
        except (MemoryError, Unreadable):
            raise
        except Exception as error:
            # pypdf raises errors of many kinds on broken files, its own and Python's.
            raise _unreadable(error) from error
        _information(reader, reading)
        _pages(reader, count, reading)


def _pages(reader: PdfReader, count: int, reading: Reading) -> None:
    def in_time(*_: object) -> None:
        reading.check_time()

    failed: Exception | None = None
    whole = 0
    for number in range(count):
        reading.check_time()
        try:
            text = reader.pages[number].extract_text(visitor_operand_before=in_time)
        except (Enough, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - as above
            failed = error
            continue
        whole += 1
        reading.add(text.rstrip() + "\n")
    if failed is not None and not whole:
        raise _unreadable(failed) from failed


def _information(reader: PdfReader, reading: Reading) -> None:
    for name in _FIELDS:
        try:
            value = getattr(reader.metadata, name, None)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - a broken dictionary costs only its own words
            return
        if isinstance(value, str) and value:
            reading.add(value + "\n")


def _unreadable(error: Exception) -> Unreadable:
    return Unreadable(detail=str(error)[:200] if isinstance(error, PyPdfError) else type(error).__name__)
