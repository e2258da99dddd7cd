"""Starts the smtp-in process."""

from posthorn_node.node import Node, Service
from posthorn_node.run import run
from posthorn_smtp_in.settings import SmtpInSettings


async def build(node: Node) -> Service:
    """Imported only now: who keeps several processes of the service needs none of what they are made of."""
    from posthorn_smtp_in.app import build as put_together

    return await put_together(node)


def main() -> None:
    """Entry point of the command `posthorn-smtp-in`."""
    raise SystemExit(run("smtp-in", SmtpInSettings, build, protocols=("smtp", "submission", "lmtp")))


if __name__ == "__main__":
    main()
