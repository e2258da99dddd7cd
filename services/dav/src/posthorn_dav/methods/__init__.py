"""One module per method: each reads its request, acts on the store, and returns an Answer."""
