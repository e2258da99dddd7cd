"""Delivery to accounts: runs their Sieve scripts over a message and stores what comes of it, for whoever delivers."""

from posthorn_delivery.arrival import NOT_SCORED, Arrival, Scores
from posthorn_delivery.filing import Filing, file_by_scripts
from posthorn_delivery.keys import DomainKeys
from posthorn_delivery.scripts import Scripts, make_scripts
from posthorn_delivery.sealing import Sealer
from posthorn_delivery.storing import store

__all__ = [
    "NOT_SCORED",
    "Arrival",
    "DomainKeys",
    "Filing",
    "Scores",
    "Scripts",
    "Sealer",
    "file_by_scripts",
    "make_scripts",
    "store",
]
