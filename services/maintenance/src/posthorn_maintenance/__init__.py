"""Cluster roles and the management API."""
