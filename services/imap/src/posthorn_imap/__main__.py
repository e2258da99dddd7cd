"""Starts the imap process."""

from posthorn_imap.settings import ImapSettings
from posthorn_node.allocation import map_large_buffers
from posthorn_node.node import Node, Service
from posthorn_node.run import run


async def build(node: Node) -> Service:
    """Imported only now: who keeps several processes of the service needs none of what they are made of."""
    from posthorn_imap.app import build as put_together

    map_large_buffers()
    return await put_together(node)


def main() -> None:
    """Entry point of the command `posthorn-imap`."""
    raise SystemExit(run("imap", ImapSettings, build, protocols=("imap", "pop3", "managesieve")))


if __name__ == "__main__":
    main()
