"""What queries and bodies say, as values: each bounded, and refused in words that say what would do. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from posthorn_maintenance.api.call import Refused
from posthorn_model.queue_items import site_of

MAX_TEXT = 1000
MAX_SECONDS = 3660 * 86_400


def site(name: str) -> str:
    """A destination in lower case and A-labels. Raises Refused."""
    found = site_of(f"x@{name.strip()}")
    if not found:
        raise Refused(400, "site is no domain")
    return found


def bounded(number: int, name: str) -> int:
    """A number that the database can have. Raises Refused."""
    if not 0 <= number < 2**63:
        raise Refused(400, f"{name} is no number that can be")
    return number


def count(given: Mapping[str, Any], name: str, default: int) -> int:
    """A whole number, as JSON or as text of a query. Raises Refused."""
    value = given.get(name, default)
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(400, f"{name} is a number")
    return bounded(value, name)


def seconds(given: Mapping[str, Any], name: str) -> float | None:
    """A time in seconds; None when it is not said. Raises Refused."""
    value = given.get(name)
    if value is None or value == "":
        return None
    try:
        found = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError):
        found = -1.0
    if not 0 <= found <= MAX_SECONDS:
        raise Refused(400, f"{name} is a number of seconds")
    return found


def text(given: Mapping[str, Any], name: str) -> str:
    """A text; "" when it is not said. Raises Refused."""
    value = given.get(name, "")
    if not isinstance(value, str) or len(value) > MAX_TEXT or "\0" in value:
        raise Refused(400, f"{name} is a text of at most {MAX_TEXT} characters")
    return value


def moment(value: object) -> datetime:
    """A point in time, in UTC when no zone is said. Raises Refused."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or not 2000 <= at.year < 9000:
        raise Refused(400, "at is a time such as 2030-01-02T03:04:05Z")
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
