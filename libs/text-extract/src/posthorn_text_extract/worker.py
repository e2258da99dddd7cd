"""The process that reads documents: `python -m posthorn_text_extract.worker LIMITS`, LIMITS as JSON.

It takes its limits on itself before it reads anything, then answers requests (frames.py) until its input ends. Whatever
a document does to it, the process is all that is lost: no secrets in its environment, no file that it may write, no
program that it may start, and the kernel ends it when it takes more memory or processor time than it may.
"""

import json
import logging
import math
import os
import resource
import sys
from typing import BinaryIO

from posthorn_text_extract import pdf  # noqa: F401 - what is imported later would be paid by each first document
from posthorn_text_extract.errors import Unreadable
from posthorn_text_extract.extract import extract
from posthorn_text_extract.frames import HEAD, MAX_HEAD, READY, Status, answer
from posthorn_text_extract.limits import Limits

_OPEN_FILES = 16


def main() -> int:
    """Serve requests until standard input ends; 1 after the memory was too small for a document."""
    limits = Limits(**json.loads(sys.argv[1]))
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    logging.disable()
    confine(limits)
    answers.write(READY)
    answers.flush()
    while True:
        head = requests.read(HEAD.size)
        if len(head) < HEAD.size:
            return 0
        (length,) = HEAD.unpack(head)
        if length > MAX_HEAD:
            return 2
        allow_seconds(limits.cpu_seconds)
        try:
            status, text = _answered(json.loads(requests.read(length)), requests, limits)
        except MemoryError:
            # What the failed reading left behind is unknown: answer, and leave the next to a new process.
            answers.write(answer(Status.UNREADABLE, "the document takes too much memory"))
            answers.flush()
            return 1
        answers.write(answer(status, text))
        answers.flush()


def _answered(head: dict[str, object], requests: BinaryIO, limits: Limits) -> tuple[Status, str]:
    data = requests.read(int(str(head["size"])))
    name = head["name"]
    try:
        text = extract(str(head["type"]), name if isinstance(name, str) else None, data, limits=limits)
    except Unreadable as error:
        return (
            Status.UNREADABLE,
            f"{error.public}: {error.fields['detail']}" if "detail" in error.fields else error.public,
        )
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a reader's own mistake costs the document, not the worker
        return Status.UNREADABLE, f"the reader failed: {type(error).__name__}"
    return (Status.UNKNOWN, "") if text is None else (Status.TEXT, text)


def confine(limits: Limits) -> None:
    """Take the limits that hold for the whole life of the process; they cannot be widened again."""
    for kind, most in (
        (resource.RLIMIT_AS, limits.memory_octets),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(kind, (most, most))
    os.nice(10)


def allow_seconds(seconds: int) -> None:
    """Let the process use so many seconds of processor time from now on (the kernel ends it with SIGXCPU)."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(spent.ru_utime + spent.ru_stime) + seconds, most))


if __name__ == "__main__":
    sys.exit(main())
