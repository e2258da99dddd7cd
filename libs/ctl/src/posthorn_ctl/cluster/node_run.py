"""Several services of one node, each its own process: what `posthorn node run` runs."""

import asyncio
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from posthorn_ctl.cluster.node_file import judged
from posthorn_ctl.cluster.service_command import service_command
from posthorn_node.node import EXIT_SETTINGS, EXIT_START
from posthorn_node.run import TOKEN_VARIABLE
from posthorn_node.supervise import Child, Supervisor

SPARE = 10.0
"""Seconds beyond what the node's own limits allow it before a service is killed."""


async def run_node(names: Sequence[str], config: Path, environ: Mapping[str, str]) -> int:
    """Run the services until a signal, until one cannot run with its settings, or until all have left.

    Returns the exit code.
    """
    server = judged(config, environ).server
    token = environ.get(TOKEN_VARIABLE) or secrets.token_hex(16)
    wanted = tuple(dict.fromkeys(names))
    ended = asyncio.Event()
    code = 0

    def changed(child: Child) -> None:
        nonlocal code
        if child.state == "failed":
            code = child.exit_code or 1
            ended.set()
        elif len(supervisor.children) == len(wanted) and all(
            each.state == "stopped" for each in supervisor.children.values()
        ):
            ended.set()

    def passed_on(_name: str, line: bytes) -> None:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()

    supervisor = Supervisor(passed_on, changed=changed)

    def asked() -> None:
        if ended.is_set():
            supervisor.kill_all()
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, supervisor.send, signal.SIGHUP)
    limit = server.end_limit + SPARE
    try:
        for name in wanted:
            command = service_command(
                name, name, config, token, environ, stop_limit=limit, hopeless=frozenset({EXIT_SETTINGS, EXIT_START})
            )
            await supervisor.start(command)
        await ended.wait()
    finally:
        await supervisor.stop(*supervisor.children)
    return code
