"""How statements are written so that PostgreSQL keeps one plan for each of them."""

import re

_ARRAY = re.compile(r"(,\s*|\bANY \()?(\$\d+::(\w+\[\]))")
_MOST = 2**32
"""More elements than any array has."""
_HIGHEST = 2**63 - 1
"""The highest modseq there can be (RFC 7162 3)."""


def one_plan(sql: str) -> str:
    """Hide the first array of each list of arrays from the planner, so that their lengths change nothing.

    It would count the elements of each array it is given, find that short ones cost less than the ten it expects of an
    unknown one, and plan a long statement anew each time: that takes longer than to run it for one message. Of arrays
    that are unnested side by side the longest counts, so one unknown among them is enough: short ones cost as much as
    ten, and long ones more. The others are left as they are, for what hides an array also copies it.
    """
    return _ARRAY.sub(_hidden, sql)


def _hidden(found: re.Match[str]) -> str:
    before, array, kind = found.groups("")
    if before.startswith(","):
        return found[0]
    # In ANY a query would be one for rows of elements; cast, it is the array.
    return f"{before}(SELECT {array}){f'::{kind}' if before else ''}"


def later_than(since: str) -> str:
    """The condition that `modseq` is later than this parameter, a bigint.

    The planner would look the parameter up in its statistics, find few rows to be later, and make the plan anew each
    time: of a modseq that it does not know it expects a third of all. With an end that it does not know it expects one
    row of two hundred either way: so it follows the index, and keeps the plan.
    """
    return f"modseq > {since}::bigint AND modseq <= (SELECT {_HIGHEST})"


def few(arrays: str, columns: str, name: str, *, numbered: bool = False) -> str:
    """What to select from: the elements of arrays side by side, as rows of `name` with these columns.

    `numbered` gives one column more, the place. Of a limit that it does not know the planner thinks that it lets a
    tenth pass: it expects one row, however many there are, and so has nothing to do but look for each by itself.
    """
    rows = f"unnest({arrays}){' WITH ORDINALITY' if numbered else ''} AS {name} ({columns})"
    return one_plan(f"(SELECT * FROM {rows} LIMIT (SELECT {_MOST})) AS {name}")  # noqa: S608  constants only


def each_of(table: str, key: str, columns: str) -> str:
    """What to select from: `found` with these columns of the rows of account $1 whose `key` is in the bigints $2.

    What is in the array twice is found twice. Each is looked for by itself, in a range and sorted: where accounts have
    few rows each, to look through all of an account's would do as well, in the planner's eyes, and that would be the
    plan for large accounts too.
    """
    return f"""{few("$2::bigint[]", "key", "wanted")} CROSS JOIN LATERAL (
    SELECT {columns} FROM {table}
    WHERE account_id = $1 AND {key} BETWEEN wanted.key AND wanted.key ORDER BY {key} OFFSET 0
) AS found"""  # noqa: S608  constants only
