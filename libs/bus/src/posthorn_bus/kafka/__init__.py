"""The bus over Apache Kafka."""

from posthorn_bus.kafka.bus import KafkaBus

__all__ = ["KafkaBus"]
