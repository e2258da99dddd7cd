"""One module per report (RFC 3253 3.6)."""
