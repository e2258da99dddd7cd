"""Who sent a message: SPF, DKIM, DMARC, ARC and iprev, and DKIM and ARC signing.

Bytes and names in, values out; the only IO is asking the resolver that is handed in (`posthorn_model.resolving`).
"""
