"""Real and hostile input from other projects, kept beside the checkout; a clone without it skips, strict runs fail."""

import os
import re
from pathlib import Path

import pytest

MAX_LINE = 998


def with_crlf(data: bytes) -> bytes:
    """Bare LF made CRLF; a last line without an end gets one."""
    found = re.sub(rb"(?<!\r)\n", b"\r\n", data)
    return found if found.endswith(b"\r\n") or not found else found + b"\r\n"


def carried_by_smtp(data: bytes) -> bool:
    """RFC 5321 2.3.8, 4.5.3.1.6, RFC 5322 2.3: no bare CR or LF, no NUL, no line above 998 octets."""
    if re.search(rb"\r(?!\n)|(?<!\r)\n|\0", data):
        return False
    return all(len(line) <= MAX_LINE for line in data.split(b"\r\n"))


@pytest.fixture(scope="session")
def corpus_folder(pytestconfig: pytest.Config) -> Path:
    """The folder ../shared/corpus beside the checkout (POSTHORN_CORPUS names another one)."""
    default = pytestconfig.rootpath.parent / "shared" / "corpus"
    folder = Path(os.environ.get("POSTHORN_CORPUS", default))
    if not folder.is_dir():
        reason = f"the corpus of real input is absent: no folder {folder}"
        if os.environ.get("POSTHORN_TEST_STRICT"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def corpus_messages(corpus_folder: Path) -> dict[str, bytes]:
    """Every message of the corpus by its path, line ends made CRLF; none is empty."""
    paths = sorted(path for path in (corpus_folder / "messages").rglob("*") if path.is_file())
    found = {str(path.relative_to(corpus_folder)): with_crlf(path.read_bytes()) for path in paths}
    assert len(found) > 200
    assert all(found.values())
    return found
