"""For developers: `python -m posthorn_storage migrate DSN`, `python -m posthorn_storage revision DSN "what it does"`.

`revision` compares the tables of posthorn_storage.schema with a migrated database and writes the next file of
migrations/versions, to be read and completed by hand: Alembic sees neither sequences nor data (design law 11).
"""

import argparse
import asyncio
import sys

from alembic import command
from sqlalchemy import Connection

from posthorn_model.errors import PosthornError
from posthorn_storage.migrate import migrate
from posthorn_storage.migrations.compare import alembic_config, run_in
from posthorn_storage.version import known_revisions


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m posthorn_storage")
    parser.add_argument("command", choices=["migrate", "revision"])
    parser.add_argument("dsn", help="postgresql:// URL")
    parser.add_argument("message", nargs="?", default="change")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "migrate":
            asyncio.run(migrate(chosen.dsn))
        else:
            asyncio.run(write_revision(chosen.dsn, chosen.message))
    except PosthornError as error:
        print(f"{error.public}: {error.fields.get('cause', '')}", file=sys.stderr)
        return 1
    return 0


async def write_revision(dsn: str, message: str) -> None:
    """Write the next migration from the differences to the database at `dsn`, which must be at the newest one."""
    number = f"{int(known_revisions()[0]) + 1:04}"

    def work(connection: Connection) -> None:
        command.revision(alembic_config(connection), message=message, rev_id=number, autogenerate=True)

    await run_in(dsn, work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
