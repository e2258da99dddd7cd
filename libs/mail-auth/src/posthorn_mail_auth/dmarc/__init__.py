"""DMARC (RFC 7489): what the domain of From asks to be done when neither SPF nor DKIM speaks for it."""
