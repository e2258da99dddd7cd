"""What keeps a process from starting, told to the operator in one line that says what to do."""


class StartError(Exception):
    """The process cannot start as it is set up; trying again without a change will not help."""


class ListenError(StartError):
    """An address cannot be listened on: taken, not allowed, or not of this machine."""


class TlsError(StartError):
    """A certificate or its key cannot be read, does not fit, or cannot be made."""
