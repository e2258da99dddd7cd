"""The load generator of the mail rows: Postfix's own smtp-source, compiled, so that it costs the servers little."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from bench import cpu
from bench.peers.peer import Missing, Peer

PROGRAM = Path("/usr/sbin/smtp-source")
PROCESSES = 10
"""Of the generator: each has a recipient of its own."""
LOOK_SECONDS = 0.02
"""Between two looks into the mailboxes, which cost the servers something too."""
LAST_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Load:
    """`messages` of `size` octets over `sessions` connections that stay open; each message is for one recipient."""

    size: int
    sessions: int
    messages: int
    files: tuple[Path, ...] = ()
    """What to send instead of what the generator makes up, one for each session."""
    each: int = 0
    """Messages of a connection, after which another one is made; 0: all."""
    sender: str = "sender@example.net"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Until the last message was seen in its mailbox: seconds, and CPU seconds of the server."""

    seconds: float
    busy: float


def check() -> None:
    """Raises Missing without the program."""
    if not PROGRAM.exists():
        raise Missing(f"no {PROGRAM}: apt-get install postfix")


async def send(peer: Peer, load: Load, recipients: Sequence[str]) -> Outcome:
    """Send, and return when all is in the mailboxes. Raises RuntimeError."""
    wanted = await peer.stored() + load.messages
    begun, busy = perf_counter(), cpu.seconds(peer.roots)
    processes = len(load.files) or min(PROCESSES, load.sessions)
    share = replace(load, sessions=load.sessions // processes, messages=load.messages // processes)
    await asyncio.gather(
        *(source(peer, share, recipients[n % len(recipients)], load.files[n : n + 1]) for n in range(processes))
    )
    try:
        async with asyncio.timeout(LAST_SECONDS):
            while (found := await peer.stored()) < wanted:
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        raise RuntimeError(f"{peer.name}: {wanted - found} messages did not arrive") from None
    return Outcome(perf_counter() - begun, cpu.seconds(peer.roots) - busy)


async def source(peer: Peer, load: Load, recipient: str, file: Sequence[Path] = ()) -> None:
    """One process of the generator, until all it sends is taken. Raises RuntimeError."""
    options: dict[str, object] = {"-s": load.sessions, "-m": load.messages}
    options |= {"-F": file[0]} if file else {"-l": load.size}
    words = [str(word) for pair in options.items() for word in pair]
    process = await asyncio.create_subprocess_exec(
        *(str(PROGRAM), "-d", *words, "-f", load.sender, "-t", recipient, f"{peer.host}:{peer.port}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if process.returncode or said:
        raise RuntimeError(f"smtp-source: {said.decode(errors='replace')[:500]}")
