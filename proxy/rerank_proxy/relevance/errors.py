"""What goes wrong in an evaluation, in words for the user."""


class RelevanceError(Exception):
    """Something that the user has to mend before work can go on. The message says where and how."""


class MissingExtraError(RelevanceError):
    """Packages that are not installed, since only some users of rerank-proxy need them."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the packages of the extra [{extra}]: run pip install 'rerank-proxy[{extra}]' "
            "in the environment of rerank-proxy"
        )


class FormatError(RelevanceError):
    """A line of a file that cannot be read."""

    def __init__(self, file: object, line: int, problem: str) -> None:
        super().__init__(f"{file}, line {line}: {problem}")
        self.line = line
        self.problem = problem
