"""What stops a local cluster from being started or asked, in words for the person at the terminal."""


class ClusterError(Exception):
    """The text says what is wrong and what to do next; `code` is the command's exit code."""

    def __init__(self, text: str, *, code: int = 1) -> None:
        super().__init__(text)
        self.code = code
