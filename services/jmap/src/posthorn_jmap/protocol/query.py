"""What all /query methods share (RFC 8620 5.5): filter trees and the window of ids that is shown."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from posthorn_jmap.protocol.arguments import MAX_INT, Arguments
from posthorn_jmap.protocol.errors import MethodError, invalid_arguments
from posthorn_jmap.protocol.session import COLLATIONS

T = TypeVar("T")
MAX_NODES = 200
MAX_IDS = 5_000


@dataclass(frozen=True, slots=True)
class Condition(Generic[T]):
    """A leaf of a filter tree, as a test in memory."""

    test: Callable[[T], bool]

    def holds(self, value: T) -> bool:
        """Whether the value passes."""
        return self.test(value)


def ascending(comparator: dict[str, Any]) -> bool:
    """Whether a comparator sorts upwards. Raises MethodError, also for a collation that is not in the session."""
    found = comparator.get("isAscending", True)
    if not isinstance(found, bool):
        raise invalid_arguments("isAscending is a boolean")
    if comparator.get("collation") not in (None, *COLLATIONS):
        raise MethodError("unsupportedSort", f"the collations are {', '.join(COLLATIONS)}")
    return found


def filter_tree(value: dict[str, Any] | None, leaf: Callable[[dict[str, Any]], Condition[T]]) -> Condition[T] | None:
    """A filter as one condition; None lets everything pass. Raises MethodError."""
    if value is None:
        return None
    found: Condition[T] = fold(value, leaf, _join)
    return found


def fold(value: dict[str, Any], leaf: Callable[[dict[str, Any]], Any], join: Callable[[str, list[Any]], Any]) -> Any:
    """Fold a FilterOperator tree: `leaf` reads a condition, `join` an operator. Bounded; raises MethodError."""
    budget = [MAX_NODES]

    def walk(node: Any) -> Any:
        budget[0] -= 1
        if budget[0] < 0:
            raise MethodError("unsupportedFilter", f"a filter of more than {MAX_NODES} parts")
        if not isinstance(node, dict):
            raise invalid_arguments("a filter is an object")
        if "operator" not in node:
            return leaf(node)
        conditions = node.get("conditions")
        if node["operator"] not in ("AND", "OR", "NOT") or not isinstance(conditions, list):
            raise invalid_arguments("a FilterOperator has operator AND, OR or NOT, and conditions")
        return join(node["operator"], [walk(inner) for inner in conditions])

    return walk(value)


def _join(operator: str, conditions: list[Condition[T]]) -> Condition[T]:
    if operator == "AND":
        return Condition(lambda value: all(c.holds(value) for c in conditions))
    if operator == "OR":
        return Condition(lambda value: any(c.holds(value) for c in conditions))
    return Condition(lambda value: not any(c.holds(value) for c in conditions))


@dataclass(frozen=True, slots=True)
class Window:
    """The ids shown of a query's result, and the position of the first of them."""

    position: int
    ids: list[str]


def window(arguments: Arguments, found: list[str]) -> Window:
    """Apply position or anchor, and limit, to a whole result. Raises MethodError anchorNotFound."""
    limit = arguments.number("limit")
    limit = MAX_IDS if limit is None else min(limit, MAX_IDS)
    anchor = arguments.text("anchor")
    if anchor is not None:
        if anchor not in found:
            raise MethodError("anchorNotFound")
        offset = arguments.number("anchorOffset", minimum=-MAX_INT) or 0
        position = max(found.index(anchor) + offset, 0)
    else:
        position = arguments.number("position", minimum=-MAX_INT) or 0
        if position < 0:
            position = max(len(found) + position, 0)
    return Window(position, found[position : position + limit])
