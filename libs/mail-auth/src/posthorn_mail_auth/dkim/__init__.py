"""DKIM (RFC 6376, 8301, 8463): verifying signatures and writing them."""
