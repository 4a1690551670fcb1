"""The error of the test bed, for the person who has to fix it."""


class TestbedError(Exception):
    """Something is missing or has failed. The message is one line, with the remedy.

    `details` holds further lines, such as the end of a log, or is empty.
    """

    __test__ = False  # The name begins with "Test", and pytest would collect it.

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details

    def report(self) -> str:
        """Return the message, followed by the details."""
        return f"{self}\n{self.details}" if self.details else str(self)
