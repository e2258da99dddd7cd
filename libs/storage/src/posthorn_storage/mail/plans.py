"""How statements are written so that PostgreSQL keeps one plan for each of them."""

import re

_ARRAY = re.compile(r"\$\d+::\w+\[\]")


def one_plan(sql: str) -> str:
    """Hide the arrays of a statement from the planner, so that their lengths change nothing.

    It would count the elements of each array it is given, find that short ones cost less than the ten it expects of an
    unknown one, and plan a long statement anew each time: that takes longer than to run it for one message.
    """
    return _ARRAY.sub(lambda found: f"(SELECT {found[0]})", sql)
