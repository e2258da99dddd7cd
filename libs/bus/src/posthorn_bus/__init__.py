"""Cluster coordination: events, shard ownership, elections, over Kafka or peer to peer."""
