"""The demonstration: real clients against a running cluster, each step timed; it fails loudly when a step fails."""
