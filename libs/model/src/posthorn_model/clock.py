"""The real clock; simulations hand in another."""

import time


class SystemClock:
    """Clock port over the operating system's clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()
