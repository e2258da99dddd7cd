"""One module per method or pair of methods: read arguments, act on the store, return the response's arguments."""
