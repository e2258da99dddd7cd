"""Real and hostile input from other projects, kept beside the checkout; a clone without it skips, strict runs fail."""

import os
from pathlib import Path

import pytest


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
