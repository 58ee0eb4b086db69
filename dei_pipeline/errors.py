"""Errors a user can act on: one line that names the place, and the fix."""


class DeiError(Exception):
    """A failure whose message names the file, sheet, cell or key, and what to do about it.

    Args:
        message: what is wrong and where.
        fix: what to do; shown after the message.
    """

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(f"{message}; {fix}" if fix else message)
        self.message = message
        self.fix = fix


class SourceError(DeiError):
    """A source file cannot be read, or is not what it says."""


class LimitError(SourceError):
    """Reading a source file takes more than is allowed of time, memory, pages, characters or depth."""


class ReferenceFileError(DeiError):
    """A reviewed file (layout, region table, methodology, correction) is wrong."""


class MethodError(DeiError):
    """A method was given data it is not defined on."""


class ContractError(DeiError):
    """A table breaks its contract; nothing was written."""


class LakeError(DeiError):
    """The lake lacks something it should hold, or holds what it should not."""


class NothingToDo(DeiError):
    """A table has no source in this lake: it is skipped, with this reason, and so is what needs it."""
