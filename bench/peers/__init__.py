"""Other mail servers from Debian's packages, each started with files of its own for the rows that stand beside them."""
