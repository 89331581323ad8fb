"""The exceptions that users meet; each message says what was given, what is allowed and what to do."""


class RenderError(Exception):
    """Base of every error this library raises on purpose."""


class InputError(RenderError, ValueError):
    """A setting or argument is not of the documented form."""


class DataError(RenderError, ValueError):
    """A file to be read is missing, malformed, corrupt or of another version."""


class OutputError(RenderError, OSError):
    """A file could not be written; nothing half-written is left behind."""


class BlenderError(RenderError, RuntimeError):
    """Blender is missing, of another version, or died too often."""
