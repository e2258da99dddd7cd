"""Starts the imap process."""

from posthorn_imap.app import build
from posthorn_imap.settings import ImapSettings
from posthorn_node.run import run


def main() -> None:
    """Entry point of the command `posthorn-imap`."""
    raise SystemExit(run("imap", ImapSettings, build))


if __name__ == "__main__":
    main()
