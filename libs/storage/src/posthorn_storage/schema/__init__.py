"""The schema: SQLAlchemy Core tables by area, all in one MetaData. Migrations are compared with it; it runs no SQL."""

from posthorn_storage.schema.naming import metadata

# isort: split
from posthorn_storage.schema import (
    blob,
    certificate,
    cluster,
    directory,
    distribution,
    dkim,
    dmarc,
    groupware,
    lookup,
    mail,
    push,
    queue,
    search,
    sieve,
    submission,
    transport,
)

__all__ = [
    "blob",
    "certificate",
    "cluster",
    "directory",
    "distribution",
    "dkim",
    "dmarc",
    "groupware",
    "lookup",
    "mail",
    "metadata",
    "push",
    "queue",
    "search",
    "sieve",
    "submission",
    "transport",
]
