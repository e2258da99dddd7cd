"""Readable text of attached documents, for the search index.

`Extractors` reads hostile documents in worker processes with limits; `extract` is the same reading in this process,
for tests and for what is trusted; `knows` says without reading whether a document is of a kind that is read.
"""

from posthorn_text_extract.errors import Unreadable
from posthorn_text_extract.extract import extract
from posthorn_text_extract.extractors import Extractors
from posthorn_text_extract.kinds import knows
from posthorn_text_extract.limits import Limits

__all__ = ["Extractors", "Limits", "Unreadable", "extract", "knows"]
