"""The public suffix list of a process: what comes with Posthorn, or a file that may be renewed while it runs."""

import asyncio
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from posthorn_mail_auth.suffixes import PublicSuffixes
from posthorn_model.ports import Clock
from posthorn_node.settings import Problem, SettingsError

RECHECK = 60.0
"""Seconds after which the file is looked at again."""


class SuffixFile:
    """Use `await current()`; a file that cannot be read any more leaves the last list in use."""

    def __init__(self, path: Path | None, clock: Clock, log: FilteringBoundLogger) -> None:
        """Reads the list. Raises SettingsError for a file that cannot be used."""
        self._path = path
        self._clock = clock
        self._log = log
        self._looked_at = clock.monotonic()
        try:
            self._stamp = _stamp(path)
            self._list = _read(path)
        except (OSError, ValueError) as error:
            problem = f"cannot be used ({error}): name a file in the format of publicsuffix.org/list, or leave it out"
            raise SettingsError([Problem("settings", 0, "smtp-in.auth.public-suffix-list", problem)]) from None

    async def current(self) -> PublicSuffixes:
        """The list, read again when the file has changed."""
        if self._path is None or self._clock.monotonic() - self._looked_at < RECHECK:
            return self._list
        self._looked_at = self._clock.monotonic()
        try:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._stamp = stamp
                self._list = await asyncio.to_thread(_read, self._path)
                self._log.info("the public suffix list was read again", file=str(self._path))
        except (OSError, ValueError) as error:
            self._log.warning("the public suffix list cannot be read", file=str(self._path), reason=str(error))
        return self._list


def _stamp(path: Path | None) -> tuple[int, int]:
    if path is None:
        return (0, 0)
    found = path.stat()
    return (found.st_mtime_ns, found.st_size)


def _read(path: Path | None) -> PublicSuffixes:
    return PublicSuffixes(None if path is None else path.read_bytes())
