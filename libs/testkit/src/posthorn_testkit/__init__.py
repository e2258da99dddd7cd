"""Fixtures that start the real PostgreSQL, Kafka and S3, contract suites, conversation player, fault tools."""
