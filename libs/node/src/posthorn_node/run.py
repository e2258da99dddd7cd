"""Runs one service as a process: arguments, settings, log, health, then start, drain and stop in their order."""

import argparse
import asyncio
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import uvloop

from posthorn_node.inherited import VARIABLE as INHERITED
from posthorn_node.inherited import inherited
from posthorn_node.node import EXIT_SETTINGS, Build, new_node
from posthorn_node.parent import PARENT_VARIABLE, die_with_parent
from posthorn_node.settings import (
    NodeSettings,
    ServiceSettings,
    SettingsError,
    load,
    notices,
    processes_of,
    shown,
    validate,
)

CONFIG_VARIABLE = "POSTHORN_CONFIG"
TOKEN_VARIABLE = "POSTHORN_NODE_TOKEN"  # noqa: S105 (the variable's name)


def run(
    service: str,
    model: type[ServiceSettings],
    build: Build,
    *,
    protocols: Sequence[str] = (),
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Run a service until a signal or a crash ends it; returns the exit code.

    0: stopped as asked; 1: crashed; 2: the settings or the arguments are wrong; 3: it cannot start as set up (a port
    is taken, a certificate cannot be read, the node id is another node's). `protocols` are those of the listeners that
    the service opens: where its settings want several processes, this one binds them and keeps the others running.
    `argv` and `environ` default to the process's own.
    """
    environ = os.environ if environ is None else environ
    arguments = _arguments(service, argv)
    path = arguments.config or environ.get(CONFIG_VARIABLE, "")
    if not path:
        print(f"posthorn-{service}: say --config PATH or set {CONFIG_VARIABLE}", file=sys.stderr)
        return EXIT_SETTINGS

    def read() -> tuple[NodeSettings, Any]:
        found = validate(load(Path(path), environ), {"": NodeSettings, service: model})
        return found[""], found[service]

    try:
        settings, own = read()
        count = processes_of(service, settings, own)
    except SettingsError as error:
        print(f"posthorn-{service}: {len(error.problems)} problem(s) in the settings\n{error}", file=sys.stderr)
        return EXIT_SETTINGS
    if arguments.check_config:
        print(shown(settings), *(f"{service}.{line}" for line in shown(own).splitlines()), sep="\n")
        return 0
    parent = environ.get(PARENT_VARIABLE, "")
    if parent.isdigit():
        die_with_parent(int(parent))
    handed = environ.get(INHERITED, "")
    if count > 1 and not handed:
        return _kept(service, settings, count, protocols, environ)
    # Imported late: what only reads settings need not load the HTTP server.
    from posthorn_node.life import Life
    from posthorn_node.reread import Rereading

    node = new_node(service, settings, own, token=environ.get(TOKEN_VARIABLE, ""), inherited=inherited(handed))
    for notice in notices(settings):
        node.log.warning(notice)
    life = Life(node, build, Rereading(node, read, protocols))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(life.run())
        life.leave(code)
    return code


def _kept(
    service: str, settings: NodeSettings, count: int, protocols: Sequence[str], environ: Mapping[str, str]
) -> int:
    """Run several processes, each this very program again, as one node."""
    from posthorn_node.crew import CrewOrder, run_crew

    argv = (sys.executable, *sys.orig_argv[1:])
    token = environ.get(TOKEN_VARIABLE) or secrets.token_hex(16)
    own = {**environ, TOKEN_VARIABLE: token}
    return asyncio.run(run_crew(CrewOrder(service, settings, count, protocols, argv, own)))


def _arguments(service: str, argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"posthorn-{service}",
        description=f"The {service} service of a Posthorn node. Any setting can also be given in the environment, "
        "such as POSTHORN__CLUSTER__NODE_ID=3.",
    )
    parser.add_argument("--config", metavar="PATH", help=f"settings file in TOML (default: ${CONFIG_VARIABLE})")
    parser.add_argument("--check-config", action="store_true", help="check the settings, show them and exit")
    return parser.parse_args(argv)
