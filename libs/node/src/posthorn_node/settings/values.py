"""Types of single settings: sizes, durations, binds, node lists; and the pydantic model that every section is."""

import math
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

_SIZE = re.compile(r"(\d{1,18})\s*(|b|kb|mb|gb|tb|kib|mib|gib|tib)", re.IGNORECASE)
_SIZE_UNITS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_DURATION_PART = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*(ms|s|m|h|d|w)")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_MAX_DURATION = 100 * 365 * 86400.0
MOST_PROCESSES = 64
"""Of one service on one node."""


def kebab(name: str) -> str:
    return name.replace("_", "-")


class Section(BaseModel):
    """A table of the settings file: kebab-case keys, unknown keys refused, never changed after reading."""

    model_config = ConfigDict(
        alias_generator=kebab,
        validate_by_alias=True,
        validate_by_name=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )


def refused(reason: str, key: str = "") -> PydanticCustomError:
    """The error a validator raises; `key` names the key of the section that is to blame."""
    return PydanticCustomError("refused", "{reason}", {"reason": reason, "key": key})


def parse_size(value: Any) -> int:
    """Bytes from an integer or from text like "16kB" or "50MB" (units count by 1024)."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) and len(value) < 64 else None
    if not match:
        raise refused('not a size: write bytes, or a number with a unit such as "16kB" or "50MB"')
    return int(match[1]) << _SIZE_UNITS[match[2][:1].lower()]


def parse_duration(value: Any) -> float:
    """Seconds from a number or from text like "500ms", "10s", "1h30m" or "2d"."""
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and len(value) < 64:
        text = value.strip().lower()
        parts = list(_DURATION_PART.finditer(text))
        if parts and "".join(part[0] for part in parts) == text:
            seconds = sum(float(part[1]) * _DURATION_UNITS[part[2]] for part in parts)
        elif re.fullmatch(r"\d{1,12}(\.\d{1,6})?", text):
            seconds = float(text)
    if not 0 <= seconds <= _MAX_DURATION:
        raise refused('not a duration: write seconds, or a number with a unit such as "10s", "5m", "2h" or "1d"')
    return seconds


Size = Annotated[int, BeforeValidator(parse_size)]
"""Bytes."""
Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds."""


def parse_bind(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Split "127.0.0.1:143", "[::1]:143" or "*:143" into host and port; "*" becomes "" (every address).

    Raises ValueError. Without `default_port` the port must be written; port 0 means any free port.
    """
    host, colon, port_text = text.rpartition(":")
    if default_port is not None and (not colon or (":" in host and not host.endswith("]"))):
        host, port_text = text, str(default_port)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host and default_port is None:
        raise ValueError(f'"{text}" is no address: put an IPv6 address into brackets, such as "[::1]:143"')
    if not port_text.isascii() or not port_text.isdigit() or len(port_text) > 5 or int(port_text) > 65535:
        raise ValueError(f'"{text}" is no address: write host:port, such as "127.0.0.1:143"')
    if not host or len(host) > 255 or any(letter.isspace() for letter in host):
        raise ValueError(f'"{text}" is no address: the host is missing (write "*" for every address)')
    return "" if host == "*" else host, int(port_text)


def _bind(value: Any) -> str:
    if not isinstance(value, str):
        raise refused('not an address: write "host:port"')
    try:
        parse_bind(value)
    except ValueError as error:
        raise refused(str(error)) from None
    return value


def _endpoint(value: Any) -> str:
    if not isinstance(value, str):
        raise refused('not an address: write "host" or "host:port"')
    try:
        parse_bind(value, default_port=1)
    except ValueError as error:
        raise refused(str(error)) from None
    return value


Bind = Annotated[str, BeforeValidator(_bind)]
"""host:port to listen on or to connect to; read it with parse_bind."""
Endpoint = Annotated[str, BeforeValidator(_endpoint)]
RegionName = Annotated[str, Field(max_length=64)]
"""Where something stands, such as "eu-west"; empty: nowhere in particular."""
"""host or host:port of something elsewhere; read it with parse_bind and a default port."""


def one_or_more(value: Any) -> Any:
    """A single string where a list of strings may stand."""
    return [value] if isinstance(value, str) else value


Binds = Annotated[tuple[Bind, ...], BeforeValidator(one_or_more)]


def _node_id(value: Any) -> int | str:
    if value == "auto":
        return "auto"
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
        raise refused('must be an integer from 1 to 1000000, or "auto" to lease the lowest free one')
    return value


NodeIdChoice = Annotated[int | str, BeforeValidator(_node_id)]
"""A fixed node id, or "auto"."""


def _processes(value: Any) -> int | str:
    if value == "auto":
        return "auto"
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 4:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_PROCESSES:
        raise refused(f'must be a number from 1 to {MOST_PROCESSES}, or "auto" for one per processor')
    return value


Processes = Annotated[int | str, BeforeValidator(_processes)]
"""A number, or "auto"."""


def _eligible(value: Any) -> tuple[tuple[int, ...], ...]:
    if not isinstance(value, list | tuple):
        raise refused("must be a list of node ids, or a list of such lists to split the work")
    groups = [value] if value and not any(isinstance(item, list | tuple) for item in value) else value
    found = []
    for group in groups:
        if not isinstance(group, list | tuple) or not group:
            raise refused("must be a list of node ids, or a list of non-empty lists; not both in one")
        if any(isinstance(item, bool) or not isinstance(item, int) or item < 1 for item in group):
            raise refused("node ids are positive integers")
        found.append(tuple(group))
    return tuple(found)


EligibleNodes = Annotated[tuple[tuple[int, ...], ...], BeforeValidator(_eligible)]
"""Who may hold a role: one tuple of node ids per shard of the role. Empty: one shard, every node."""
