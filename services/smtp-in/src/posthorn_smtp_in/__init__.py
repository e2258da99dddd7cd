"""Receives mail: MX, submission and LMTP; judges, delivers to mailboxes or enqueues."""
