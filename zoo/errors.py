"""The errors a user sees: one clear line, an exit code, no traceback."""


class ZooError(Exception):
    """Something failed while running; the message says what, where and what to do (exit code 1)."""

    exit_code = 1


class InputError(ZooError):
    """What the user gave is wrong: a recipe, a file, an option (exit code 2)."""

    exit_code = 2
