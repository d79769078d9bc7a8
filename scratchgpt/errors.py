"""The errors that a user of scratchgpt meets."""


class InputError(ValueError):
    """Something given cannot be used; the message says what was given, what was expected and what to do."""


class NonFiniteError(ArithmeticError):
    """A NaN or an infinity appeared; the message names the first op whose result held it."""


class SaveError(RuntimeError):
    """A file of the run could not be written; the message says which, why, and what checkpoint is left."""


class Interrupted(KeyboardInterrupt):
    """Training was stopped by a signal after a checkpoint; the message says how to resume, `signum` which signal."""

    def __init__(self, message, signum):
        super().__init__(message)
        self.signum = signum
