"""How one service of one node is run as a process: by its own program beside this Python, with the node's token."""

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_node.node import EXIT_SETTINGS
from posthorn_node.run import CONFIG_VARIABLE, TOKEN_VARIABLE
from posthorn_node.supervise import Command

STOP_LIMIT = 20.0
"""Seconds: a little more than a local node's drain and stop limits."""


def service_command(
    name: str,
    service: str,
    config: Path,
    token: str,
    environ: Mapping[str, str],
    *,
    stop_limit: float = STOP_LIMIT,
    hopeless: frozenset[int] = frozenset({EXIT_SETTINGS}),
) -> Command:
    """The command named `name` that runs `service` with the settings file `config`.

    `environ` is passed on, so that POSTHORN__... overrides and %{env:...}% work. Raises ClusterError when the service
    is not installed.
    """
    module = f"posthorn_{service.replace('-', '_')}"
    if importlib.util.find_spec(module) is None:
        raise ClusterError(f"the service {service} is not installed here: install posthorn-{service}", code=2)
    own = {key: value for key, value in environ.items() if key != CONFIG_VARIABLE}
    program = Path(sys.executable).with_name(f"posthorn-{service}")
    argv = (str(program),) if program.is_file() else (sys.executable, "-m", module)
    return Command(
        name,
        (*argv, "--config", str(config)),
        {**own, TOKEN_VARIABLE: token, "PYTHONUNBUFFERED": "1"},
        stop_limit=stop_limit,
        hopeless=hopeless,
        leaves=True,
    )
