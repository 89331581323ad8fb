"""The exceptions that users meet: those of the whole distribution, and what goes wrong with Blender."""

from pcs_augment.errors import DataError, InputError, OutputError, PcsError

__all__ = ["BlenderError", "DataError", "InputError", "OutputError", "PcsError", "RenderError"]

RenderError = PcsError  # its name up to version 0.3


class BlenderError(PcsError, RuntimeError):
    """Blender is missing, of another version, or died too often."""
