"""Photorealistic images of protein crystals in suspension, with exact labels."""

__version__ = "0.3.0"
