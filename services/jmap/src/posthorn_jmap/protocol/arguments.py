"""Reads the arguments of a method call: each reader names the argument and what it should have been."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from posthorn_jmap.protocol.errors import MethodError, invalid_arguments

MAX_INT = 2**53 - 1


@dataclass(slots=True)
class Arguments:
    """The arguments of one call, already with their result references replaced."""

    values: Mapping[str, Any]

    def only(self, *names: str) -> None:
        """Raise MethodError when an argument is none of these (accountId is always allowed)."""
        unknown = sorted(set(self.values) - set(names) - {"accountId"})
        if unknown:
            raise invalid_arguments(f"unknown argument {unknown[0][:100]}")

    def text(self, name: str) -> str | None:
        """A string or null."""
        value: str | None = self._of(name, str, "a string")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise invalid_arguments(f"{name} must be a boolean")
        return value

    def number(self, name: str, *, minimum: int = 0) -> int | None:
        """An integer or null, of at least `minimum` (JMAP's UnsignedInt by default)."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= MAX_INT:
            raise invalid_arguments(f"{name} must be an integer from {minimum} to 2^53-1")
        return value

    def strings(self, name: str, limit: int | None = None) -> list[str] | None:
        """A list of strings or null. Raises MethodError requestTooLarge above `limit`."""
        value = self._of(name, list, "a list")
        if value is None:
            return None
        if not all(isinstance(item, str) for item in value):
            raise invalid_arguments(f"{name} must be a list of strings")
        if limit is not None and len(value) > limit:
            raise MethodError("requestTooLarge", f"{name} holds more than {limit} entries")
        return list(dict.fromkeys(value))

    def objects(self, name: str) -> list[dict[str, Any]] | None:
        """A list of objects or null."""
        value: list[dict[str, Any]] | None = self._of(name, list, "a list")
        if value is not None and not all(isinstance(item, dict) for item in value):
            raise invalid_arguments(f"{name} must be a list of objects")
        return value

    def mapping(self, name: str) -> dict[str, Any] | None:
        """An object or null."""
        value: dict[str, Any] | None = self._of(name, dict, "an object")
        return value

    def properties(self, known: Collection[str], name: str = "properties") -> list[str] | None:
        """Names of properties or null. Raises MethodError for one that does not exist."""
        found = self.strings(name)
        unknown = [item for item in found or () if item not in known]
        if unknown:
            raise invalid_arguments(f"{unknown[0][:100]} is not a property of this type")
        return found

    def _of(self, name: str, kind: type[Any], shown: str) -> Any:
        value = self.values.get(name)
        if value is not None and not isinstance(value, kind):
            raise invalid_arguments(f"{name} must be {shown} or null")
        return value


def utc_date(value: Any) -> datetime:
    """A UTCDate (RFC 8620 1.4). Raises ValueError."""
    if not isinstance(value, str) or not value.endswith("Z") or "T" not in value:
        raise ValueError("not a UTCDate")
    return datetime.fromisoformat(value).astimezone(UTC)


def utc_text(value: datetime) -> str:
    """A UTCDate, to the second."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def patch(current: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Apply a PatchObject (RFC 8620 5.3) to an object of plain values. Raises ValueError for an invalid patch."""
    found = {key: dict(value) if isinstance(value, dict) else value for key, value in current.items()}
    seen: set[str] = set()
    for path, value in changes.items():
        if any(path.startswith(other + "/") or other.startswith(path + "/") for other in seen):
            raise ValueError("one path of the patch is inside another")
        seen.add(path)
        first, _, rest = path.partition("/")
        if not rest:
            found[first] = value
            continue
        inner = found.get(first)
        key = rest.replace("~1", "/").replace("~0", "~")
        if not isinstance(inner, dict) or "/" in rest:
            raise ValueError(f"{path} names nothing that can be patched")
        if value is None:
            inner.pop(key, None)
        else:
            inner[key] = value
    return found
