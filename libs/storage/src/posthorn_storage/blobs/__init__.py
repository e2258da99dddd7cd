"""Blobs: content-addressed, immutable, small ones in the database and large ones in an object store."""
