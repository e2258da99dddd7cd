"""Sieve at delivery: the active scripts of the recipients decide where a message goes, and what is sent for it."""
