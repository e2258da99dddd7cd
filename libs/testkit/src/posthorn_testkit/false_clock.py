"""A process whose wall clock is wrong from its first instruction, by Debian's libfaketime; what passes stays true."""

import os
from pathlib import Path

from posthorn_testkit.strict import missing

LIBRARY = Path("/usr/lib") / f"{os.uname().machine}-linux-gnu" / "faketime" / "libfaketimeMT.so.1"


def false_clock(ahead: str) -> dict[str, str]:
    """What to put into its environment; `ahead` is such as "+1h". Skips the test where the library is missing."""
    if not LIBRARY.is_file():
        missing("no faketime: apt-get install faketime")
    return {"LD_PRELOAD": str(LIBRARY), "FAKETIME": ahead, "DONT_FAKE_MONOTONIC": "1"}
