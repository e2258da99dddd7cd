"""What is wrong with settings, told all at once: file, line, key, reason and the nearest right key."""

from collections.abc import Sequence
from dataclasses import dataclass

KeyPath = tuple[str | int, ...]
"""Where a value stands: table names, keys and list indexes from the top of the file."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `line` counts from 1 and is 0 where no line can be named; `suggestion` may be empty."""

    file: str
    line: int
    key: str
    reason: str
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        subject = f"{place}: {self.key}: {self.reason}" if self.key else f"{place}: {self.reason}"
        return f"{subject} (did you mean {self.suggestion}?)" if self.suggestion else subject


class SettingsError(Exception):
    """Settings that cannot be used. Its text has one problem per line and never holds a secret's value."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def written(path: KeyPath) -> str:
    """A path as it is written in TOML, with quotes where a bare key could not stand: `store."a b".path`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        bare = bool(part) and part.isascii() and part.replace("-", "").replace("_", "").isalnum()
        name = part if bare else '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'
        text += f".{name}" if text else name
    return text
