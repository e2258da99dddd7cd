"""The `posthorn` command: local clusters, accounts and domains. Errors are one line on stderr, never a traceback."""

import sys

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands import up
from posthorn_ctl.embedded.errors import PartError
from posthorn_model.errors import PosthornError

app = typer.Typer(
    name="posthorn",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def program() -> None:
    """Posthorn, a clustered mail system: run a cluster on this machine, manage its accounts."""


app.command("up", epilog=up.EPILOG)(up.up)


def main() -> None:
    """Entry point."""
    try:
        app()
    except ClusterError as error:
        print(f"posthorn: {error}", file=sys.stderr)
        raise SystemExit(error.code) from None
    except (PartError, PosthornError) as error:
        print(f"posthorn: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
