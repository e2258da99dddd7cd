"""What every process needs and knows nothing of mail: settings, logs, metrics, health, TLS, identity, supervision."""

from posthorn_node.node import Node, Service
from posthorn_node.run import run

__all__ = ["Node", "Service", "run"]
