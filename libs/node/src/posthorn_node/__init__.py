"""What every process needs and knows nothing of mail: settings, logs, metrics, health, TLS, identity, supervision."""

from posthorn_node.run import Node, Service, run

__all__ = ["Node", "Service", "run"]
