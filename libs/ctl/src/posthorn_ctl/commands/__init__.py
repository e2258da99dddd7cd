"""One file per verb of the `posthorn` command."""
