"""What can be wrong with an exchange, apart from the claim itself. Each protocol has its own words for them."""

from enum import Enum


class Problem(Enum):
    """Why an exchange cannot go on; the value may be shown to the client."""

    CANCELLED = "authentication cancelled"
    ENCODING = "that is no base64"
    SYNTAX = "that response is none of this mechanism"
    TOO_LONG = "that response is too long"
    MECHANISM = "that mechanism is not offered"
    IDENTITY = "acting for another identity is not offered"
    BINDING = "the channel binding does not fit this connection"


class SaslProblem(Exception):
    """The exchange is over, and nobody has claimed anything."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.value)
