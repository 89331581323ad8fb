"""One HTML page of what was found in photographs, a file that needs nothing but itself."""

from .page import write_report

__all__ = ["write_report"]
