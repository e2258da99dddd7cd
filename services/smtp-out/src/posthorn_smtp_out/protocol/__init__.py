"""The client's side of SMTP (RFC 5321) as values: replies in, commands and verdicts out. No IO."""
