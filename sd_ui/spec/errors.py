"""What is wrong with what was asked, in the words of whoever asked."""


class BadRequest(ValueError):
    """Raised at the door, before anything is queued.

    field: the name in `spec.fields` (page, CLI and HTTP API use the same); why: a sentence with value and allowed range.
    """

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field, self.why = field, why

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.field, self.why)
