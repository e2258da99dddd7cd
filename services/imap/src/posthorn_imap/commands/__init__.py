"""One file for each command: read the arguments, act on the store, write the data, return the tagged response."""
