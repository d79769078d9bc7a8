"""The two errors that a user of scratchgpt meets."""


class InputError(ValueError):
    """Something given cannot be used; the message says what was given, what was expected and what to do."""


class NonFiniteError(ArithmeticError):
    """A NaN or an infinity appeared; the message names the first op whose result held it."""
