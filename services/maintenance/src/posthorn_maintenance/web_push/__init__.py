"""What a push is made of (RFC 8030, 8291, 8292) and how it is sent; who is pushed to says `jobs.web_push`."""
