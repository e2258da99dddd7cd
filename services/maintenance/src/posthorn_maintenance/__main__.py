"""Starts the maintenance process."""

from posthorn_maintenance.settings import MaintenanceSettings
from posthorn_node.node import Node, Service
from posthorn_node.run import run


async def build(node: Node) -> Service:
    """Imported only now: who keeps several processes of the service needs none of what they are made of."""
    from posthorn_maintenance.app import build as put_together

    return await put_together(node)


def main() -> None:
    """Entry point of the command `posthorn-maintenance`."""
    raise SystemExit(run("maintenance", MaintenanceSettings, build, protocols=("api",)))


if __name__ == "__main__":
    main()
