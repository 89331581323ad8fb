"""Protein crystals in photographs: found, measured, reported; and the training of the detectors that find them.

The examples of this package begin with a drawn photograph, what the detector finds there, and a table of five crystals in the
photographs of a drop after one hour and after five:

    >>> import numpy as np
    >>> import pandas as pd
    >>> from PIL import Image
    >>> from pcs_detect import Detector, photographs, report, sizes
    >>> from pcs_detect.inference.batch import predict_folder
    >>> grey = np.full((256, 256), 150, np.uint8)
    >>> grey[96:140, 80:160] = 90
    >>> Image.fromarray(grey).save("drop.png")
    >>> detector = Detector()
    >>> found = predict_folder(detector, "drop.png", "found", progress=False)
    >>> crystals = pd.DataFrame({"image": ["1.png", "1.png", "5.png", "5.png", "5.png"], "width_px": [20.0, 24, 40, 50, 60],
    ...                          "height_px": [10.0, 12, 20, 25, 30], "at_border": [False, False, False, False, True]})
    >>> groups = pd.DataFrame({"image": ["1.png", "5.png"], "time (h)": ["1", "5"]})
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["Detector"]


def __getattr__(name: str) -> Any:
    if name == "Detector":  # on first use, so that ``pcs-detect --help`` answers at once
        from .inference.detector import Detector

        return Detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
