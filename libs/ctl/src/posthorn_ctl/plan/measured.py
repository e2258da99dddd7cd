"""What a unit of work costs, as `make bench ARGS=plan` measured it: the figures are data of this package."""

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

SERVICES = ("smtp-in", "smtp-out", "imap", "jmap", "dav", "maintenance")


@dataclass(frozen=True, slots=True)
class Measured:
    """Processor time in milliseconds, memory and disk in bytes."""

    date: str
    machine: str
    smtp_in: float
    """Of a message that is received."""
    smtp_out: float
    """Of a recipient that is sent to."""
    maintenance: float
    """Of a message: its indexing."""
    imap: float
    """Of a look at a mailbox: log-in, SELECT, 20 envelopes."""
    jmap: float
    """Of a request."""
    dav: float
    postgres: float
    """Of a message that is received, in the database."""
    postgres_look: float
    """Of a look at a mailbox, in the database."""
    connection: int
    """Memory of an idle IMAP connection, without TLS."""
    process: int
    """Memory of a process at rest."""
    message: int
    """Disk of a message in the database."""


def measured() -> Measured:
    """The figures of this release."""
    text = resources.files("posthorn_ctl.plan").joinpath("measured.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return Measured(**found)
