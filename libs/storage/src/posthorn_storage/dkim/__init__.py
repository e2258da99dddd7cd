"""DKIM keys of the cluster's domains (RFC 6376, RFC 8463) in the database, the private ones sealed."""

from posthorn_storage.dkim.keys import Algorithm, PrivateKey, imported, made, record_name, record_text
from posthorn_storage.dkim.store import DkimKey, DkimStore, NewDkimKey, SigningKey, State

__all__ = [
    "Algorithm",
    "DkimKey",
    "DkimStore",
    "NewDkimKey",
    "PrivateKey",
    "SigningKey",
    "State",
    "imported",
    "made",
    "record_name",
    "record_text",
]
