"""CLAHE on photographs: a picture of before and after, agreement with OpenCV in grey levels, and time beside OpenCV and kornia.

    python benchmarks/clahe.py photographs/*.jpg --out out/clahe.png

Needs pcs_detect. Times are medians on one thread for four images of 512 x 512 px.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import kornia
import numpy as np
import torch

from pcs_detect.crystals.drawing import contact_sheet, save_picture
from pcs_detect.photographs.reading import read_photograph
from pcs_detect.training.models.clahe import clahe

CLIP, TILES, WIDTH = 2.0, (8, 8), 600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/clahe.png"))
    args = parser.parse_args()
    opencv = cv2.createCLAHE(CLIP, TILES)
    before, after = [], []
    for path in args.photographs:
        grey = read_photograph(path).round().clip(0, 255).astype(np.uint8)
        ours = clahe(torch.from_numpy(grey), CLIP, TILES).numpy()
        off = np.abs(ours.astype(int) - opencv.apply(grey))
        differing = f"at most {off.max()} levels from OpenCV, {(off > 0).sum()} px differ"
        print(f"{path.name}: {grey.shape[1]} x {grey.shape[0]} px, {differing}")
        size = (WIDTH, round(WIDTH * grey.shape[0] / grey.shape[1]))
        before.append(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))
        after.append(cv2.resize(ours, size, interpolation=cv2.INTER_AREA))
    save_picture(contact_sheet(before + after, len(before)), args.out)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    images = torch.randint(0, 256, (4, 1, 512, 512), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    real = images.float() / 255
    print(f"four of 512 px: ours {timed(lambda: clahe(images, CLIP, TILES)):.1f} ms", end=", ")
    print(f"kornia {timed(lambda: kornia.enhance.equalize_clahe(real, CLIP, TILES)):.1f} ms", end=", ")
    print(f"OpenCV {timed(lambda: [opencv.apply(i[0].numpy()) for i in images]):.1f} ms\n{args.out}")


def timed(work: Callable[[], object], rounds: int = 15) -> float:
    """Median, ms."""
    times = []
    for _ in range(rounds + 2):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times[2:])


if __name__ == "__main__":
    main()
