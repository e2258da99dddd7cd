"""DKIM keys of the domains: when they change, and what DNS says of them."""
