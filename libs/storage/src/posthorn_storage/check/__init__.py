"""The invariant checker: proves on a running database what design laws 3 and 4 promise. It repairs nothing."""

from posthorn_storage.check.checker import Check, Step
from posthorn_storage.check.rules import ACCOUNT_RULES, QUEUE_RULE, Finding, Rule

__all__ = ["ACCOUNT_RULES", "QUEUE_RULE", "Check", "Finding", "Rule", "Step"]
