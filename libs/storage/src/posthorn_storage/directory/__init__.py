"""The directory: domains, accounts, aliases, log-ins and identities."""

from posthorn_storage.directory.directory import Directory
from posthorn_storage.directory.records import AccountRecord

__all__ = ["AccountRecord", "Directory"]
