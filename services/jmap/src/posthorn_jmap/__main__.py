"""posthorn-jmap: settings, then run."""

import sys

from posthorn_jmap.app import build
from posthorn_jmap.settings import JmapSettings
from posthorn_node import run


def main() -> None:
    """The entry point of the process."""
    sys.exit(run("jmap", JmapSettings, build))


if __name__ == "__main__":
    main()
