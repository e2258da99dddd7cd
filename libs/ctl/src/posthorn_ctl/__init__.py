"""The posthorn command: the local cluster, accounts, queue, cluster state, the demo."""
