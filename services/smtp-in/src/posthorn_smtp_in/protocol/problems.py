"""A line that is no command."""

from posthorn_smtp_in.protocol.replies import Reply


class CommandProblem(Exception):
    """The line cannot be read as a command; `reply` says why."""

    def __init__(self, problem: Reply) -> None:
        self.reply = problem
        super().__init__(problem.lines[0])
