"""One module per role: what its holder does, in bounded steps that carry the lease's epoch."""
