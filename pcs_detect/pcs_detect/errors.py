"""Errors that the user can correct."""


class PcsDetectError(Exception):
    """An error whose message says what was given, what is allowed and what to do."""


class InputError(PcsDetectError, ValueError):
    """A wrong argument, option or setting."""


class DataError(PcsDetectError):
    """A file or data set that is missing, malformed or unreadable."""


class OutputError(PcsDetectError, OSError):
    """A file that could not be written; nothing half-written is left behind."""


class InstallationError(PcsDetectError, ImportError):
    """A package that is missing or does not fit."""
