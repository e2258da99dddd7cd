"""The server's side of SMTP (RFC 5321) and LMTP (RFC 2033) as a value: bytes in, events out, replies back in. No IO."""
