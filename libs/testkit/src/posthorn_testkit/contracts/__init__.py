"""Contract suites: one per port, run over every implementation of it."""
