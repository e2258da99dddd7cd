"""The real PostgreSQL and Apache Kafka as child processes of one machine; never part of a service's image."""
