"""Starts the smtp-out process."""

from posthorn_node.run import run
from posthorn_smtp_out.app import build
from posthorn_smtp_out.settings import SmtpOutSettings


def main() -> None:
    """Entry point of the command `posthorn-smtp-out`."""
    raise SystemExit(run("smtp-out", SmtpOutSettings, build))


if __name__ == "__main__":
    main()
