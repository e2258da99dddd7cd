"""The output of all processes: each line kept in its process's file, and shown in one stream with who said it.

Services write JSON lines; the stream shows them as text. A line that is no JSON is shown as it is.
"""

import json
from collections.abc import Callable
from pathlib import Path

MAX_FILE = 20 << 20
"""Bytes after which a log file becomes NAME.log.1 and a new one begins."""
_HEAD = ("timestamp", "level", "event", "service", "node", "boot")

Show = Callable[[str, str], None]
"""Takes who speaks ("node1/imap", "kafka") and one line of text."""


def file_name(name: str) -> str:
    return name.replace("/", "-") + ".log"


def as_text(line: str) -> str:
    """A JSON log line as people read it: time, level, event, the other fields as key=value."""
    try:
        entry = json.loads(line)
        if not isinstance(entry, dict) or "event" not in entry:
            return line
    except ValueError:
        return line
    moment = str(entry.get("timestamp", ""))[11:23]
    trouble = entry.get("exception")
    rest = [f"{key}={_short(value)}" for key, value in entry.items() if key not in _HEAD and key != "exception"]
    text = " ".join([moment, str(entry.get("level", "")).upper(), str(entry["event"]), *rest]).strip()
    return f"{text}\n{trouble}" if trouble else text


def _short(value: object) -> str:
    return value if isinstance(value, str) and value and " " not in value else json.dumps(value, ensure_ascii=False)


class LogStream:
    """Takes the lines of a Supervisor."""

    def __init__(self, folder: Path, show: Show) -> None:
        self._folder = folder
        self._show = show

    def take(self, name: str, line: bytes) -> None:
        """One line of the process `name`. A disk that is full costs the file's copy, never the cluster."""
        text = line.decode("utf-8", "replace")
        path = self._folder / file_name(name)
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(text + "\n")
                size = file.tell()
            if size > MAX_FILE:
                path.replace(path.with_suffix(".log.1"))
        except OSError as error:
            self._show(name, f"(its log file cannot be written: {error.strerror})")
        self._show(name, as_text(text))
