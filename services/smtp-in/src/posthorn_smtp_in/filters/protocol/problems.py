"""What is wrong with an answer of a filter."""


class BadAnswer(Exception):
    """A filter said something that its protocol does not know, or more than it may. The text says what, for the log."""
