"""The `posthorn` command within this process: the same words, output and end without a program's start each time."""

import io
import os
import sys
import threading
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from posthorn_ctl.__main__ import main


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it wrote on its two streams."""

    code: int
    out: str
    problem: str


def posthorn(*words: str, given: str = "", cwd: Path | None = None) -> Ended:
    """Run `posthorn words...` to its end in `cwd`, with `given` on its standard input and no POSTHORN_CONFIG set.

    Programs of their own are for what signals, terminals or several at once have a part in.
    """
    out, problem = io.StringIO(), io.StringIO()
    code: list[int] = []

    def target() -> None:
        try:
            main()
            code.append(0)
        except SystemExit as end:
            code.append(end.code if isinstance(end.code, int) else int(end.code is not None))

    # A thread, since commands run an event loop of their own where a test has one already.
    thread = threading.Thread(target=target)
    environ = {key: value for key, value in os.environ.items() if key != "POSTHORN_CONFIG"}
    with (
        chdir(cwd or Path.cwd()),
        patch.dict(os.environ, environ, clear=True),
        patch.object(sys, "argv", ["posthorn", *words]),
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode()))),
        redirect_stdout(out),
        redirect_stderr(problem),
    ):
        thread.start()
        thread.join()
    if not code:
        raise AssertionError(f"posthorn {' '.join(words)} ended with an exception: {problem.getvalue()}")
    return Ended(code[0], out.getvalue(), problem.getvalue())
