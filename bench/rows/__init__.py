"""One module per row: `rows(cluster)` gives what it measures."""
