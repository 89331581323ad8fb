"""The bundled sample: twelve rendered images with 682 labelled crystals."""

from pathlib import Path


def sample_path() -> Path:
    """The JSON of the sample; its images lie beside it."""
    return Path(__file__).with_name("pcs_sample.json")
