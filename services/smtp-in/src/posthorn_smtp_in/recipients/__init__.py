"""Recipients: who is behind an address, who may send to it, and whether there is room."""

from posthorn_smtp_in.recipients.recipients import Asked, Recipient, take_recipient

__all__ = ["Asked", "Recipient", "take_recipient"]
