"""posthorn-maintenance: settings, then run."""

import sys

from posthorn_maintenance.app import build
from posthorn_maintenance.settings import MaintenanceSettings
from posthorn_node import run


def main() -> None:
    """The entry point of the process."""
    sys.exit(run("maintenance", MaintenanceSettings, build))


if __name__ == "__main__":
    main()
