"""The one kind of picture file that this library makes: 8-bit grey PNG."""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY_8 = (8, 0, 0, 0, 0)  # bits, colour type, compression, filter, interlace


def plain(data: bytes, width: int, height: int) -> bytes:
    """The same picture without the chunks that a decoder does not need (Blender adds render times, which differ each time).

    Raises ValueError, saying what is wrong, unless ``data`` is one whole 8-bit grey PNG of ``width`` x ``height`` px.
    """
    if not data.startswith(SIGNATURE):
        raise ValueError(f"it starts with {data[:8]!r}, not like a PNG")
    kept = [SIGNATURE]
    pixels = b""
    at = len(SIGNATURE)
    while True:
        if at + 12 > len(data):
            raise ValueError(f"it breaks off after {len(data)} bytes")
        (size,), kind = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        body, end = data[at + 8 : at + 8 + size], at + 12 + size
        if end > len(data) or zlib.crc32(kind + body) != struct.unpack_from(">I", data, end - 4)[0]:
            raise ValueError(f"its {kind!r} part is cut off or damaged")
        if kind == b"IHDR" and body != struct.pack(">IIBBBBB", width, height, *GREY_8):
            raise ValueError(f"it is not {width} x {height} px of 8-bit grey")
        if kind == b"IDAT":
            pixels += body
        if kind in (b"IHDR", b"IDAT", b"IEND"):
            kept.append(data[at:end])
        at = end
        if kind == b"IEND":
            break
    try:
        size = len(zlib.decompress(pixels))
    except zlib.error as e:
        raise ValueError(f"its pixels are damaged: {e}") from e
    if len(kept) < 4 or kept[1][4:8] != b"IHDR" or size != height * (width + 1):
        raise ValueError(f"it holds {size} bytes of pixels, not {height * (width + 1)}")
    return b"".join(kept)
