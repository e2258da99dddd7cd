"""Structured log lines on standard output: JSON for machines, colours for a terminal; secrets never get through.

Lines of libraries that use the standard library's logging come out in the same form.
"""

import contextlib
import io
import json
import logging
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TextIO, cast

import structlog
from pydantic import SecretBytes, SecretStr
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from posthorn_node.settings import LogSettings
from posthorn_node.settings.display import STARS

_SECRET_KEY = re.compile(r"password|passwd|secret|token|authorization|credential", re.IGNORECASE)
_URL_LOGIN = re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://[^\s:/@]*:)[^\s@/]+@", re.IGNORECASE)
"""The password in a URL, such as a data source's name in an exception's text."""
_MAX_DEPTH = 6
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


@dataclass(slots=True)
class Identity:
    """Who writes a line. `node` changes once, when the node id has been leased."""

    service: str
    node: str
    boot: str


class LogLevel:
    """From which level on lines are written; it may change."""

    def __init__(self, name: str) -> None:
        self._value = _LEVELS[name]

    def set(self, name: str) -> None:
        """By the settings' word."""
        self._value = _LEVELS[name]
        _take_level(self._value)

    def drop(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """What is below it; a structlog processor."""
        if _LEVELS.get(method, _LEVELS["error"]) < self._value:
            raise structlog.DropEvent
        return event


def open_log(
    settings: LogSettings, identity: Identity, stream: TextIO | None = None, level: LogLevel | None = None
) -> FilteringBoundLogger:
    """The logger of a process; also takes over the standard library's logging. `level`, if given, decides."""
    out = stream or sys.stdout
    if isinstance(out, io.TextIOWrapper):
        # Peers' bytes come as lone surrogates; whatever the locale, they must not make a line fail.
        out.reconfigure(encoding="utf-8", errors="backslashreplace")
    console = settings.format == "console" or (settings.format == "auto" and out.isatty())
    least = _LEVELS["debug" if level is not None else settings.level]

    def who(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {"service": identity.service, "node": identity.node, "boot": identity.boot, **event}

    processors: list[Processor] = [
        *([level.drop] if level is not None else []),
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        who,
        structlog.processors.format_exc_info,
        redact,
    ]
    if console:
        # The plain formatter: richer ones print local variables, and with them secrets.
        plain = structlog.dev.plain_traceback
        processors.append(structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=plain))
    else:
        processors.append(structlog.processors.JSONRenderer(serializer=_to_json))
    logger = structlog.wrap_logger(
        structlog.WriteLogger(cast(TextIO, _Unfailing(out))),
        processors,
        structlog.make_filtering_bound_logger(least),
        cache_logger_on_first_use=True,
    )
    bound = cast(FilteringBoundLogger, logger.bind())
    _take_over(bound, _LEVELS[settings.level])
    return bound


class _Encoder(json.JSONEncoder):
    """Made once: json.dumps with settings of its own makes one for each line."""

    def default(self, o: object) -> object:
        return repr(o)


_ENCODER = _Encoder(ensure_ascii=False)


def _to_json(event: EventDict, **_: object) -> str:
    return _ENCODER.encode(event)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Stars for values of keys that name secrets, and for passwords in URLs, at any depth; a structlog processor."""
    return cast(EventDict, _redacted(event, 0))


@lru_cache(maxsize=4096)
def _is_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def _redacted(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _URL_LOGIN.sub(rf"\1{STARS}@", value) if "://" in value else value
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, (SecretStr, SecretBytes)):
        return STARS
    if isinstance(value, (Mapping, list, tuple)) and depth >= _MAX_DEPTH:
        return type(value).__name__
    if isinstance(value, Mapping):
        return {
            key: STARS if isinstance(key, str) and below and _is_secret(key) else _redacted(below, depth + 1)
            for key, below in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_redacted(item, depth + 1) for item in value]
    return value


class _Unfailing(io.TextIOBase):
    """A stream whose reader may go away: what logs must go on all the same."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


class _Bridge(logging.Handler):
    """Hands records of the standard library's logging to a structlog logger."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = str(record.msg)
        self._log.log(record.levelno, text, logger=record.name, exc_info=record.exc_info or None)


def _take_over(log: FilteringBoundLogger, level: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [_Bridge(log)]
    _take_level(level)
    logging.captureWarnings(True)


def _take_level(level: int) -> None:
    # Libraries' own news of every connection is no news to an operator.
    logging.getLogger().setLevel(level if level <= _LEVELS["debug"] else max(level, _LEVELS["warning"]))
