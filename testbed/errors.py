"""What can go wrong while a test bed is set up, told to the person who has to fix it."""


class TestbedError(Exception):
    """One line: what is missing or failed, and the remedy.

    `details` holds more lines for who wants them, such as the end of a log; it is empty when there are none.
    """

    __test__ = False  # The name begins with "Test", and pytest would collect it.

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details

    def report(self) -> str:
        """The message, and below it the details."""
        return f"{self}\n{self.details}" if self.details else str(self)
