"""RFC 5322 and MIME bytes to structure, and structure to the forms that IMAP, JMAP and reports need."""
