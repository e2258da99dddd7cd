"""What is wrong with a script, or with one run of it, in words that its owner can read."""

from posthorn_model.errors import PosthornError


class SieveError(PosthornError):
    """Anything that Sieve refuses. `line` and `column` count from 1; 0 when there is no place to point at."""

    default = "the script was refused"

    def __init__(self, problem: str, line: int = 0, column: int = 0) -> None:
        self.problem = problem
        self.line = line
        self.column = column
        where = f"line {line}, column {column}: " if column else f"line {line}: " if line else ""
        super().__init__(where + problem)


class InvalidScript(SieveError):
    """The script breaks the grammar, asks for an unknown extension, or uses a word wrongly (RFC 5228 2.10.5)."""


class ScriptFailed(SieveError):
    """A valid script that cannot go on with this message (RFC 5228 2.10.6); what it did until then is not done."""


class LimitReached(ScriptFailed):
    """A run that does too much: steps, time, redirects, variables (RFC 5228 10)."""
