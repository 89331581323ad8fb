"""Folders as predict and sizes write them, of photographs drawn here: bright crystals on dark ground, found by a detector that
needs no training."""

import numpy as np
import pandas as pd
from fixed_network import FixedNetwork
from PIL import Image, ImageDraw

from pcs_detect.boxes import corners
from pcs_detect.crystals.tables import read_table, write_table
from pcs_detect.inference.batch import predict_folder
from pcs_detect.inference.detector import Detector
from pcs_detect.sizes import Options, analyse, read_input, write_sizes

SCALE = 0.5  # um per px
TIMES = (1.0, 3.0, 7.0)


def draw(path, crystals, length=24.0, size=(240, 320), seed=0):
    """A photograph of (H, W) px with so many crystals, ``length`` px long on average, one of them at the left border."""
    rng = np.random.default_rng(seed)
    picture = Image.fromarray(rng.integers(20, 60, size).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    cells = [(x, y) for y in range(30, size[0] - 20, 40) for x in range(60, size[1] - 30, 50)]
    for k in range(crystals):
        x, y = (4, 20) if k == 0 else cells[k % len(cells)]
        w = length * rng.uniform(0.7, 1.3)
        (outline,) = corners([(x, y, w, w / rng.uniform(1.5, 4), rng.uniform(-1.5, 1.5))])
        pen.polygon([tuple(p) for p in outline], fill=230)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def detector():
    return Detector(FixedNetwork())


def predicted(found_by, photographs, out, um_per_px=SCALE, **options):
    """The folder of predict for the photographs of a folder."""
    words = ["pcs-detect", "predict", str(photographs)]
    predict_folder(found_by, photographs, out, um_per_px=um_per_px, command=words, **options)
    return out


def time_course(folder, found_by):
    """(folder of predict, folder of sizes): two replicates and dilutions at three times, crystals growing."""
    rows = []
    for number, time in enumerate(TIMES):
        for replicate in (1, 2):
            for dilution in ("1:1", "1:4"):
                name = f"r{replicate} {dilution.replace(':', '-')} {time:g} h.png"
                draw(folder / "photographs" / name, 18, 14 + 3 * time, seed=len(rows))
                key = {"replicate": replicate, "time": time, "dilution": dilution}
                rows.append({"image": name, **key, "concentration": 10 - 2 * number})
    out = predicted(found_by, folder / "photographs", folder / "predicted")
    write_table(pd.DataFrame(rows), folder / "groups.csv")
    crystals, images, unread = read_input(out)
    groups = read_table(folder / "groups.csv", ("image",))
    analysis = analyse(crystals, groups, images, Options(concentration_unit="g/L"), unread)
    write_sizes(analysis, folder / "sizes", "pcs-detect sizes predicted --groups groups.csv")
    return out, folder / "sizes"
