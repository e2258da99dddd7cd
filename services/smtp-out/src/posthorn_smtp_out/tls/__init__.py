"""What a next hop must show under TLS before it gets mail, who says so, and the handshake that finds out."""
