"""What goes wrong in an evaluation, in words for the user."""


class RelevanceError(Exception):
    """Something that the user has to mend before work can go on. The message says where and how."""


class FormatError(RelevanceError):
    """A line of a file that cannot be read."""

    def __init__(self, file: object, line: int, problem: str) -> None:
        super().__init__(f"{file}, line {line}: {problem}")
        self.line = line
        self.problem = problem
