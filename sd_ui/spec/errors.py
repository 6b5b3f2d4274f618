"""What is wrong with what was asked, in the words of whoever asked; and which errors mean that there is too little memory."""

TOO_LITTLE = ("out of memory", "can't allocate memory", "not enough memory")  # how torch says it on a GPU, on Linux and on Windows


class BadRequest(ValueError):
    """Raised at the door, before anything is queued.

    field: the name in `spec.fields` (page, CLI and HTTP API use the same); why: a sentence with value and allowed range.
    """

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field, self.why = field, why

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.field, self.why)


def is_out_of_memory(error: BaseException) -> bool:
    """torch has a class for it on a GPU, and only a sentence in a plain RuntimeError on a CPU."""
    text = str(error).casefold()
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or any(words in text for words in TOO_LITTLE)
