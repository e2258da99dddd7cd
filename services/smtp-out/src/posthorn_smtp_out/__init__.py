"""Workers of the distributed queue: route, send, retry, bounce."""
