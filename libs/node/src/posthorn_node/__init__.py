"""What every process needs and knows nothing of mail: settings, logs, metrics, health, TLS, identity, supervision."""
