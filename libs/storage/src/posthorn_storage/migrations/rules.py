"""What a revision may do: it adds, at once and without long locks, so that old code goes on; or it is marked.

It reads statements as text. A rule that is wrong about one is answered in the revision: `excused = {rule: reason}`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from posthorn_storage.migrations.revisions import Revision


@dataclass(frozen=True, slots=True)
class Rule:
    """`pattern` is what a statement must not have, unless it has `unless`; on tables of the revision itself it may."""

    name: str
    pattern: str
    advice: str
    unless: str | None = None


_EXPAND: Final = (
    Rule(
        "takes-away",
        r"\bDROP (TABLE|COLUMN|TYPE|FUNCTION|SEQUENCE|VIEW|INDEX|TRIGGER)\b|\bTRUNCATE\b",
        "code of the last release may use it: stop using it first, and drop it a release later with `contract`",
    ),
    Rule("renames", r"\bRENAME\b|\bSET SCHEMA\b", "code of the last release knows the old name: add, fill, drop later"),
    Rule("type", r"\bALTER COLUMN \S+ (SET DATA )?TYPE\b", "it rewrites the table under a lock: add another column"),
    Rule(
        "not-null", r"\bSET NOT NULL\b", "old code may write NULL, and it reads the whole table: use a CHECK NOT VALID"
    ),
    Rule(
        "must-be-given",
        r"\bADD COLUMN\b.*\bNOT NULL\b",
        "code of the last release does not give it: set a server default",
        unless=r"\bDEFAULT\b|\bGENERATED\b",
    ),
    Rule(
        "rewrites",
        r"\bADD COLUMN\b.*(\bDEFAULT (clock_timestamp|gen_random_uuid|random|nextval)\b|\bGENERATED\b.*\bSTORED\b"
        r"|\bGENERATED\b.*\bIDENTITY\b)",
        "it rewrites the table under a lock: add the column empty and fill it online",
    ),
    Rule(
        "reads-all",
        r"\bADD (CONSTRAINT \S+ )?(CHECK|FOREIGN KEY)\b",
        "it reads the table under a lock: NOT VALID, and VALIDATE CONSTRAINT in an online revision",
        unless=r"\bNOT VALID\b",
    ),
    Rule(
        "builds-index",
        r"\bCREATE (UNIQUE )?INDEX\b|\bADD (CONSTRAINT \S+ )?(UNIQUE|PRIMARY KEY|EXCLUDE)\b|\bREINDEX\b",
        "it holds up all writers while it is built: use `online` and CREATE INDEX CONCURRENTLY",
        unless=r"\bUSING INDEX\b",
    ),
    Rule(
        "fills-in",
        r"^\s*(WITH\b.*)?\b(UPDATE|DELETE FROM)\b|^\s*INSERT INTO\b.*\bSELECT\b",
        "it locks every row until its end: use `online` and batches",
    ),
    Rule(
        "holds-up",
        r"\bLOCK TABLE\b|^\s*(VACUUM|CLUSTER)\b|\bREFRESH MATERIALIZED\b",
        "it holds up everybody: find another way",
    ),
)
TAKES_AWAY: Final = frozenset({"takes-away", "renames", "not-null", "must-be-given"})
"""What `contract` allows, once nobody uses it any more."""

_CREATED = re.compile(r"^\s*CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?\"?(\w+)", re.IGNORECASE)
_ON = re.compile(
    r"^\s*(?:ALTER TABLE (?:ONLY )?|CREATE (?:UNIQUE )?INDEX .*?\bON |UPDATE |DELETE FROM |INSERT INTO )\"?(\w+)",
    re.IGNORECASE,
)
_BODY = re.compile(r"\$(\w*)\$.*?\$\1\$", re.DOTALL)


def problems(revision: Revision) -> Iterator[str]:
    """What is wrong with a revision's statements, with advice; nothing when it may be merged."""
    created: set[str] = set()
    for statement in revision.statements:
        text = _BODY.sub("''", " ".join(_BODY.sub("''", statement).split()))
        made = _CREATED.match(text)
        if made:
            created.add(made[1])
            continue
        on = _ON.match(text)
        if on is not None and on[1] in created:
            continue
        for rule in broken(text):
            allowed = rule.name in revision.excused or (revision.contract is not None and rule.name in TAKES_AWAY)
            if not allowed:
                yield f"{revision.number} ({rule.name}): {rule.advice}: {text[:160]}"


def broken(statement: str) -> Iterator[Rule]:
    """The rules that one statement breaks."""
    for rule in _EXPAND:
        if re.search(rule.pattern, statement, re.IGNORECASE) and not (
            rule.unless and re.search(rule.unless, statement, re.IGNORECASE)
        ):
            yield rule
