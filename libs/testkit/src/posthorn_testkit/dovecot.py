"""Another server's reading of a message: Dovecot's imap program, fed by pipes, over a maildir of its own.

No listener is opened and no account is needed: the program starts in the state after LOGIN.
"""

import itertools
import os
import pwd
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from posthorn_testkit.programs import folder_of_server
from posthorn_testkit.strict import missing

PROGRAM = Path("/usr/lib/dovecot/imap")
RECEIVED = 1_700_000_000
"""When the first of the messages came, in seconds of Unix."""
_LIMIT = 60.0
_CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/run
mail_location = maildir:{folder}/mail
protocols = imap
ssl = no
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 0
first_valid_gid = 0
"""
_TOKEN = re.compile(rb'(\()|(\))|"((?:[^"\\]|\\.)*)"|\{(\d+)\}\r\n|([^\s()"{]+)|\s+', re.DOTALL)

Value = bytes | int | None | list["Value"]


def structures(messages: Sequence[bytes]) -> list[dict[str, bytes]]:
    """ENVELOPE and BODYSTRUCTURE of each message (with CRLF line ends) as Dovecot sends them. Skips without Dovecot."""
    return _fetched(answers(messages, [b"UID FETCH 1:* (ENVELOPE BODYSTRUCTURE)"])[0], len(messages))


def answers(messages: Sequence[bytes], commands: Sequence[bytes]) -> list[bytes]:
    """What Dovecot answers to each command in a mailbox of these messages, without the tagged line.

    They came a minute apart, the first at RECEIVED. Commands that it refuses fail. Skips without Dovecot.
    """
    if not PROGRAM.exists():
        missing(f"no {PROGRAM}: install dovecot-imapd")
    with opened(messages) as ask:
        return [ask(command) for command in commands]


@contextmanager
def opened(
    messages: Sequence[bytes], *, limit: float = _LIMIT, settings: str = ""
) -> Iterator[Callable[[bytes], bytes]]:
    """A selected mailbox of these messages for `limit` seconds: what it gives answers a command, one at a time.

    `settings`: more of them, such as plugins.
    """
    with folder_of_server("dovecot") as folder:
        for name in ("run", "mail/cur", "mail/new", "mail/tmp"):
            (folder / name).mkdir(parents=True)
        for number, message in enumerate(messages):
            path = folder / f"mail/cur/{1_000_000 + number}.m{number}.host:2,S"
            path.write_bytes(message)
            os.utime(path, (RECEIVED + 60 * number,) * 2)
        with _conversation(folder, limit, settings) as ask:
            ask(b"SELECT INBOX")
            yield ask


def values(data: bytes) -> list[Value]:
    """IMAP values as lists, strings, numbers and None; fails on anything else."""
    found, end = _values(data, 0, len(data))
    assert end == len(data)
    return found


@contextmanager
def _conversation(folder: Path, limit: float, settings: str) -> Iterator[Callable[[bytes], bytes]]:
    """What answers commands, one after the other: the program mixes its answers to those sent ahead."""
    user = pwd.getpwuid(os.getuid()) if os.getuid() else pwd.getpwnam("nobody")
    config = folder / "dovecot.conf"
    config.write_text(_CONFIG.format(folder=folder, user=user.pw_name, group=f"{user.pw_gid}") + settings)
    if not os.getuid():
        # It refuses to read mail as root.
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, user.pw_uid, user.pw_gid)
    identity = {} if os.getuid() else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with subprocess.Popen(
        [PROGRAM, "-c", config],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"USER": user.pw_name, "HOME": str(folder)},
        cwd=folder,
        **identity,  # type: ignore[call-overload]
    ) as process:
        timer = threading.Timer(limit, process.kill)
        timer.start()
        try:
            numbers = itertools.count()
            yield lambda command: _answered(process, b"t%d" % next(numbers), command)
        finally:
            timer.cancel()
            process.kill()


def _answered(process: subprocess.Popen[bytes], tag: bytes, command: bytes) -> bytes:
    """The untagged lines that a command is answered with."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write(tag + b" " + command + b"\r\n")
    process.stdin.flush()
    lines: list[bytes] = []
    while not (line := process.stdout.readline()).startswith(tag + b" "):
        assert line, process.stderr.read()
        lines.append(line)
    assert line.startswith(tag + b" OK"), (command[:200], line)
    return b"".join(lines)


def _fetched(answer: bytes, count: int) -> list[dict[str, bytes]]:
    found: list[dict[str, bytes]] = [{} for _ in range(count)]
    position = 0
    head = re.compile(rb"\* (\d+) FETCH (?=\()")
    while match := head.search(answer, position):
        (items,), position = _values(answer, match.end(), len(answer), 1)
        assert isinstance(items, list)
        start = match.end() + 1
        for name in ("ENVELOPE", "BODYSTRUCTURE"):
            start = answer.index(name.encode() + b" ", start) + len(name) + 1
            _, end = _values(answer, start, len(answer), 1)
            found[int(match[1]) - 1][name] = answer[start:end]
            start = end
    assert all(found), "a message without an answer"
    return found


def _values(data: bytes, position: int, end: int, most: int = 1 << 30) -> tuple[list[Value], int]:
    """At most `most` values from `position`, and where they end."""
    stack: list[list[Value]] = [[]]
    while position < end and (len(stack) > 1 or len(stack[0]) < most):
        match = _TOKEN.match(data, position, end)
        assert match is not None, data[position : position + 80]
        position = match.end()
        opened, closed, quoted, literal, atom = match.groups()
        if opened:
            stack.append([])
        elif closed:
            done = stack.pop()
            stack[-1].append(done)
        elif quoted is not None:
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", quoted))
        elif literal is not None:
            stack[-1].append(data[position : position + int(literal)])
            position += int(literal)
        elif atom is not None:
            stack[-1].append(None if atom == b"NIL" else int(atom) if atom.isdigit() else atom)
    assert len(stack) == 1
    return stack[0], position
