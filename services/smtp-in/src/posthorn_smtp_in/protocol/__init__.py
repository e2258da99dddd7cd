"""The protocol core: bytes in, values out; does no IO."""
