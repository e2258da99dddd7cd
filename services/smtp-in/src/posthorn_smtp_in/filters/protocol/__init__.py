"""The protocols of content filters as values, no IO. What a filter says is trusted as little as what a client says."""
