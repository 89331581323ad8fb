"""Oriented detectors of protein crystals: training on rendered images augmented on the device, evaluation, command line."""

__version__ = "0.1.0"
