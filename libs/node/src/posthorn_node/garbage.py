"""How often the cyclic garbage collector looks. Nearly everything is freed by counting, without it.

A service makes thousands of small objects for a batch of mail, none of them in a cycle, beside some hundred thousand
that its modules made for ever. With the defaults of Python the collector looks at the young ones after every 700 and at
all of them again and again: a third of the time of a busy delivery.
"""

import gc
from typing import Final

YOUNG: Final = 50_000
"""Objects made, and not freed, until the young ones are looked at."""
ROUNDS: Final = 20
"""Such looks until the next older ones are looked at too."""


def spare_what_stays() -> None:
    """Leave out what is there now from every later look, and look less often. Call it when a service has started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, ROUNDS, ROUNDS)
