"""Loads the test kit's fixtures for every package of the workspace."""

pytest_plugins = ["posthorn_testkit.plugin", "posthorn_testkit.corpus", "posthorn_testkit.long_first"]
