"""What every process needs and knows nothing of mail: settings, logging, metrics, health, TLS, identity, supervision."""
