"""Rates: how much of the whole cluster one address, login, sender's domain or recipient may have."""
