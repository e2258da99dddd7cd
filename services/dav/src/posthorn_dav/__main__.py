"""Starts the dav process."""

from posthorn_dav.settings import DavSettings
from posthorn_node.node import Node, Service
from posthorn_node.run import run


async def build(node: Node) -> Service:
    """Imported only now: who keeps several processes of the service needs none of what they are made of."""
    from posthorn_dav.app import build as put_together

    return await put_together(node)


def main() -> None:
    """Entry point of the command `posthorn-dav`."""
    raise SystemExit(run("dav", DavSettings, build, protocols=("dav",)))


if __name__ == "__main__":
    main()
