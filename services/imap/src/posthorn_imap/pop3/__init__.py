"""POP3 (RFC 1939) over the same inbox: a second protocol of the mailbox-access service, for listeners that say so."""
