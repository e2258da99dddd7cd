"""The directory: domains, accounts, aliases, log-ins and identities."""

from posthorn_storage.directory.directory import AccountRecord, Directory

__all__ = ["AccountRecord", "Directory"]
