"""The rows of imap: Posthorn beside Dovecot and Cyrus, on the same machine and mail, in one run."""

from collections.abc import Callable
from contextlib import AsyncExitStack

from bench import runner
from bench.peers.imap_servers import OTHERS, posthorn
from bench.peers.peer import Missing
from bench.rows import imap_beside, imap_held, imap_mix

CASES = (*imap_beside.CASES, *imap_mix.CASES, *imap_held.CASES)
Tell = Callable[[str], None]


async def results(server: str, tell: Tell, only: str = "") -> list[runner.Result]:
    """The rows whose titles contain `only`, on the PostgreSQL server of this superuser's DSN."""
    cases = [case for case in CASES if only in f"IMAP {case.name}"]
    if not cases:
        return []
    async with AsyncExitStack() as stack:
        ours = imap_beside.Mailboxes(await stack.enter_async_context(posthorn(server)))
        others = []
        for start in OTHERS:
            try:
                others.append(imap_beside.Mailboxes(await stack.enter_async_context(start())))
            except Missing as reason:
                tell(f"left out: {reason}")
        return [await runner.run(row, tell) for row in imap_beside.rows(cases, ours, others)]
