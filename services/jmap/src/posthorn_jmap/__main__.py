"""Starts the jmap process."""

from posthorn_jmap.settings import JmapSettings
from posthorn_node.node import Node, Service
from posthorn_node.run import run


async def build(node: Node) -> Service:
    """Imported only now: who keeps several processes of the service needs none of what they are made of."""
    from posthorn_jmap.app import build as put_together

    return await put_together(node)


def main() -> None:
    """Entry point of the command `posthorn-jmap`."""
    raise SystemExit(run("jmap", JmapSettings, build, protocols=("jmap",)))


if __name__ == "__main__":
    main()
