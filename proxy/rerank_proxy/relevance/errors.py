"""What goes wrong in an evaluation, in words for the user."""


class RelevanceError(Exception):
    """Something that the user has to mend before work can go on. The message says where and how."""


class FormatError(RelevanceError):
    """A line of a file that cannot be read, or an entry of one that is a single JSON document."""

    def __init__(self, file: object, number: int, problem: str, *, unit: str = "line") -> None:
        super().__init__(f"{file}, {unit} {number}: {problem}")
