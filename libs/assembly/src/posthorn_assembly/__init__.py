"""What every service puts together from a node's settings: storage, bus, membership, leases."""

from posthorn_assembly.coordination import bus_settings
from posthorn_assembly.parts import Parts, assemble
from posthorn_assembly.translation import roles, storage_settings

__all__ = ["Parts", "assemble", "bus_settings", "roles", "storage_settings"]
