"""What may go wrong with an embedded part, in words for the person at the terminal."""


class PartError(Exception):
    """An embedded part cannot be had, prepared or started; the text says why and what to do next."""
