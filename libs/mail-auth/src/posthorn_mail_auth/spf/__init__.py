"""SPF (RFC 7208): whether a domain lets an address send mail in its name."""
