"""What a test does when a real part it needs is not to be had: skip with the reason, or fail where told so."""

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip the test; fail it when POSTHORN_TEST_STRICT is set (continuous integration)."""
    if os.environ.get("POSTHORN_TEST_STRICT"):
        pytest.fail(f"{reason} (POSTHORN_TEST_STRICT is set: a missing part is a failure)", pytrace=False)
    pytest.skip(reason)
