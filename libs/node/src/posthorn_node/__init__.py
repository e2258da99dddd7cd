"""What every process needs and knows nothing of mail: settings, logs, metrics, health, TLS, identity, supervision.

Nothing is imported here: the command line needs small parts of this and must not wait for the rest.
"""
