"""Protein crystals in photographs: found, measured, reported; and the training of the detectors that find them."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["Detector"]


def __getattr__(name: str) -> Any:
    if name == "Detector":  # on first use, so that ``pcs-detect --help`` answers at once
        from .inference.detector import Detector

        return Detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
