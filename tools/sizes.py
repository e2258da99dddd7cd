"""Holds modules under 400 lines and functions under 60; a longer one says why in a line `# size: ...` at its head."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MODULE_LINES = 400
FUNCTION_LINES = 60
ROOT = Path(__file__).resolve().parent.parent


def sources() -> Iterator[Path]:
    for pattern in ("libs/*/src/**/*.py", "services/*/src/**/*.py", "bench/**/*.py", "tools/*.py"):
        yield from sorted(ROOT.glob(pattern))


def excused(lines: list[str], first: int, last: int) -> bool:
    """Whether a `# size: reason` comment stands between two line numbers (from 1, both included)."""
    return any("# size:" in line and line.split("# size:")[1].strip() for line in lines[first - 1 : last])


def problems(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    name = path.relative_to(ROOT)
    if len(lines) > MODULE_LINES and not excused(lines, 1, 30):
        yield f"{name}: {len(lines)} lines; split it by verb, or say why not in a line `# size: ...`"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            last = node.end_lineno or node.lineno
            length = last - node.lineno + 1
            if length > FUNCTION_LINES and not excused(lines, node.lineno, last):
                yield f"{name}:{node.lineno}: {node.name} has {length} lines; split it, or say why not in `# size: ...`"


def main() -> int:
    found = [problem for path in sources() for problem in problems(path)]
    for problem in found:
        print(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
