"""IMAP4rev1 over the shared mail store."""
