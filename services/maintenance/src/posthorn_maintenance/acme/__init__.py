"""What ordering certificates needs: the authority, records in DNS, and when to renew. `jobs.acme` tells the story."""
