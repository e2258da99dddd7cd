"""A whole cluster on this machine, under one data folder: planned, started, watched, described, stopped."""
