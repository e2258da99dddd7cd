"""The trace field of final delivery (RFC 5321 4.4)."""


def return_path(sender: str) -> bytes:
    """The field that stands on top of what is in a mailbox, its line end included; "" is the null reverse-path."""
    return f"Return-Path: <{sender}>\r\n".encode()
