"""The documents of the project as text: their code blocks, code spans, links and headings."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCUMENTS = (
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def named(path: Path) -> str:
    """How a document is called in messages and test ids."""
    return path.relative_to(ROOT).as_posix()


def fenced(path: Path, language: str) -> list[str]:
    """The code blocks of a language."""
    return [body for kind, body in _FENCE.findall(path.read_text(encoding="utf-8")) if kind == language]


def prose(path: Path) -> str:
    """The text without its code blocks."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def spans(text: str) -> list[str]:
    """The inline code of a text."""
    return _SPAN.findall(text)


def commands(path: Path) -> Iterator[str]:
    """What a reader may type: lines of shell blocks without their comments, and inline code."""
    for block in fenced(path, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if typed := line.split(" #")[0].strip():
                yield typed
    yield from spans(prose(path))


def links(path: Path) -> list[str]:
    """The targets of links that stay inside the project."""
    return [target for target in _LINK.findall(prose(path)) if "://" not in target and not target.startswith("mailto:")]


def anchors(path: Path) -> set[str]:
    """The fragments that headings make, as GitHub derives them."""
    titles = [re.sub(r"[^\w\- ]", "", title.lower()).strip() for title in _HEADING.findall(prose(path))]
    return {title.replace(" ", "-") for title in titles}


def table_rows(path: Path) -> list[str]:
    """The lines of all tables."""
    return [line for line in prose(path).splitlines() if line.startswith("|")]
