"""Pictures through Pillow and OpenCV."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .frames import MAX_PIXELS

if TYPE_CHECKING:
    from PIL import Image

_OWN: list[int | None] = []  # Pillow's own limit, which is one for all threads, once for every picture that is open here
_LOCK = threading.Lock()


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


@contextlib.contextmanager
def opened_by_pillow(file: Path | BinaryIO) -> Iterator[Image.Image]:
    """A picture of up to MAX_PIXELS, whatever Pillow's own limit is. Raises DataError for a larger one."""
    from PIL import Image

    with _LOCK:
        _OWN.append(_OWN[0] if _OWN else Image.MAX_IMAGE_PIXELS)
        if _OWN[0] is not None:
            Image.MAX_IMAGE_PIXELS = max(_OWN[0], MAX_PIXELS)
    try:
        with Image.open(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{image.width} x {image.height} px, more than {MAX_PIXELS} are not read")
            yield image
    finally:
        with _LOCK:
            own = _OWN.pop()
            if not _OWN:
                Image.MAX_IMAGE_PIXELS = own
