"""The garbage collector after a service has started: what was there is left out, cycles made later still go."""

import gc
import subprocess
import sys
import weakref

from posthorn_node.garbage import YOUNG, spare_what_stays


class Knot:
    def __init__(self) -> None:
        self.self = self


def test_cycles_made_later_still_go() -> None:
    before = gc.get_threshold()
    try:
        spare_what_stays()
        assert gc.get_freeze_count() > 0
        watched = weakref.ref(Knot())
        kept = []
        while watched() is not None:
            kept.append([])
            assert len(kept) < 3 * YOUNG
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def test_importing_it_changes_nothing() -> None:
    program = (
        "import gc; before = gc.get_threshold(); import posthorn_node.garbage; assert gc.get_threshold() == before"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
