"""What the settings of processes that tests and measurements start have in common."""

from typing import Final

_COMMON: Final = """
[store.postgres]
type = "postgresql"
dsn = "{dsn}"
[store.fs]
type = "fs"
path = "{folder}/blobs"
[metrics]
bind = "127.0.0.1:0"
[log]
format = "json"
level = "LEVEL"
"""


def local(own: str, level: str = "info") -> str:
    """These settings and what all have: a database, blobs in files, metrics on a free port, log lines from `level` up.

    TOML to be formatted, with `dsn` and `folder` beside the names of `own`.
    """
    return own + _COMMON.replace("LEVEL", level)
