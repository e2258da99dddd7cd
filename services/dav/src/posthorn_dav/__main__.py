"""posthorn-dav: settings, then run."""

import sys

from posthorn_dav.app import build
from posthorn_dav.settings import DavSettings
from posthorn_node import run


def main() -> None:
    """The entry point of the process."""
    sys.exit(run("dav", DavSettings, build))


if __name__ == "__main__":
    main()
