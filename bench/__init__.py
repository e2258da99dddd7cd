"""Benchmarks: one runner, rows that each measure one thing beside a bare reference in the same run."""
