"""What is to be reported to the owners of domains (RFC 7489 7.2): summed up by domain and day, until it is sent."""

from posthorn_storage.dmarc.store import CountedRow, DmarcStore, DueReport
from posthorn_storage.dmarc.tally import DmarcTally

__all__ = ["CountedRow", "DmarcStore", "DmarcTally", "DueReport"]
