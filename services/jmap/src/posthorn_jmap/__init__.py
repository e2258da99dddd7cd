"""JMAP over HTTP with EventSource."""
