"""Starts the smtp-in process."""

from posthorn_node.run import run
from posthorn_smtp_in.app import build
from posthorn_smtp_in.settings import SmtpInSettings


def main() -> None:
    """Entry point of the command `posthorn-smtp-in`."""
    raise SystemExit(run("smtp-in", SmtpInSettings, build))


if __name__ == "__main__":
    main()
