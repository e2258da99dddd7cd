"""How statements are written so that PostgreSQL keeps one plan for each of them."""

import re

_ARRAY = re.compile(r"(,\s*)?(\$\d+::\w+\[\])")


def one_plan(sql: str) -> str:
    """Hide the first array of each list of arrays from the planner, so that their lengths change nothing.

    It would count the elements of each array it is given, find that short ones cost less than the ten it expects of an
    unknown one, and plan a long statement anew each time: that takes longer than to run it for one message. Of arrays
    that are unnested side by side the longest counts, so one unknown among them is enough: short ones cost as much as
    ten, and long ones more. The others are left as they are, for what hides an array also copies it.
    """
    return _ARRAY.sub(lambda found: found[0] if found[1] else f"(SELECT {found[2]})", sql)
