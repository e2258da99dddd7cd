"""What a release does to its database, recorded, so that later schemas can be held to it (design law 11).

`python -m posthorn_testkit.releases FILE` runs the scenario with the code at hand and writes every statement with its
arguments and results. A later release replays the file on its own schema: what comes back must be what was recorded.
"""
