"""Pictures through Pillow and OpenCV."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def decoded_by_opencv(content: bytes, flags: int) -> NDArray[Any] | None:
    """Pixels of a picture file, colour as blue, green, red; None where OpenCV cannot read it, of which it says nothing."""
    import cv2

    places: Any = (cv2, getattr(cv2.utils, "logging", None))  # up to OpenCV 4, and from 5 on
    log = next(place for place in places if hasattr(place, "getLogLevel"))
    before = log.getLogLevel()
    log.setLogLevel(0)  # what goes wrong is said by the error
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
    except cv2.error:
        return None
    finally:
        log.setLogLevel(before)
