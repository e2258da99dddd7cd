"""Delivery status notifications (RFC 3464): composes them and says where they go. The queue stores them.

A report goes out with the null reverse-path and is never answered by another (RFC 5321 4.5.5). One to a sender of the
cluster itself is put into the mailbox in the transaction that writes the outcome.
"""
