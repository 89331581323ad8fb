"""The exceptions that users meet; each message says what was given, what is allowed and what to do."""


class PcsError(Exception):
    """Base of every error this library raises on purpose."""


class InputError(PcsError, ValueError):
    """An argument, image batch, target or plan is not of the documented form."""


class DataError(PcsError, ValueError):
    """A file to be read is missing, malformed, unreadable or hostile."""


class OutputError(PcsError, OSError):
    """A file could not be written; nothing half-written is left behind."""
