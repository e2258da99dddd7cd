"""The IMAP protocol without IO: octets to commands, values to octets, which command in which state, the numbering."""
