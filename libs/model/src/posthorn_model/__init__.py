"""The nouns of mail and of the cluster: ids, flags, messages, events, errors, and the ports the parts are handed."""
