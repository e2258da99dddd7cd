"""TCP streams of line protocols: one connection, who it comes from, and how connections are let in and leave."""
