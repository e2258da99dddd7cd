"""Starts the smtp-out process."""

from posthorn_node.node import Node, Service
from posthorn_node.run import run
from posthorn_smtp_out.settings import SmtpOutSettings


async def build(node: Node) -> Service:
    """Imported only now: who keeps several processes of the service needs none of what they are made of."""
    from posthorn_smtp_out.app import build as put_together

    return await put_together(node)


def main() -> None:
    """Entry point of the command `posthorn-smtp-out`."""
    raise SystemExit(run("smtp-out", SmtpOutSettings, build))


if __name__ == "__main__":
    main()
