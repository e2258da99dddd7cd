"""The invariant checker: proves on a running database what design laws 3 and 4 promise, and repairs when asked to."""

from posthorn_storage.check.checker import Check, Step
from posthorn_storage.check.history_rules import HISTORY_RULES, HOME_RULES
from posthorn_storage.check.repairs import HOME_REPAIRS, REPAIRS, SUM_REPAIRS
from posthorn_storage.check.rules import ACCOUNT_RULES, QUEUE_RULE, Finding, Rule
from posthorn_storage.check.shared_rules import BLOB_RULES, DATABASE_RULES

__all__ = [
    "ACCOUNT_RULES",
    "BLOB_RULES",
    "DATABASE_RULES",
    "HISTORY_RULES",
    "HOME_REPAIRS",
    "HOME_RULES",
    "QUEUE_RULE",
    "REPAIRS",
    "SUM_REPAIRS",
    "Check",
    "Finding",
    "Rule",
    "Step",
]
