"""ARC (RFC 8617): what those who passed a message on say of it, and our own saying when we do."""
