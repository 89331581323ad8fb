"""One picture per setting that makes a rendered drop look like one under a bright-field microscope.

    python benchmarks/render_looks.py --out docs/render_looks.png

Each column has one setting more than the column before it; the upper row is the picture, the lower one its labels.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pcs_render.blender import Renderer
from pcs_render.draw import labelled
from pcs_render.labels import labels
from pcs_render.production import Job
from pcs_render.profile import PROFILES
from pcs_render.settings import Settings, load_settings

STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("as published", ()),
    ("light from below", ("bright_field", "relief", "refractive_index", "tint", "field_of_view", "camera_distance")),
    ("one size in a drop", ("covered", "max_crystals", "area", "area_window", "aspect_ratio", "elongation")),
    ("focus and aperture", ("focus", "aperture", "blur_limit")),
    ("grown together", ("contact",)),
    ("cut by the border", ("visible",)),
    ("bubbles, round cells", ("spheres",)),
)
TITLE = 22  # px


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", type=Path, default=Path(__file__).with_name("settings") / "microscope.yaml")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--image", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("render_looks.png"))
    args = parser.parse_args()
    final = load_settings(args.settings).to_dict()
    chosen = Settings().to_dict()
    columns = []
    with Renderer(PROFILES["default"]) as lamps, Renderer(PROFILES["draft"]) as below:
        for title, names in STEPS:
            chosen |= {name: final[name] for name in names}
            columns.append(_column(title, Settings(**chosen), args, below if chosen["bright_field"] else lamps))
    if chosen != final:
        raise SystemExit(f"no column shows {sorted(k for k in final if final[k] != chosen[k])}")
    sheet = Image.fromarray(np.concatenate(columns, 1))
    sheet.quantize(128, dither=Image.Dither.NONE).save(args.out, optimize=True)  # a third of the bytes, no visible difference


def _column(title: str, settings: Settings, args: argparse.Namespace, renderer: Renderer) -> np.ndarray:
    scene = Job.of(settings, renderer.profile, args.seed).scene(args.image)
    with Image.open(io.BytesIO(renderer.render(scene).png)) as picture:
        pixels = np.asarray(picture)
    found = labels(scene)
    heading = Image.new("RGB", (pixels.shape[1], TITLE), "white")
    ImageDraw.Draw(heading).text((4, 4), f"{title}: {len(found.boxes)} labels", fill="black")
    grey = np.repeat(pixels[..., None], 3, 2)
    column = np.concatenate((np.asarray(heading), grey, labelled(pixels, found.boxes, found.polygons)))
    return np.pad(column, ((0, 0), (2, 2), (0, 0)), constant_values=255)


if __name__ == "__main__":
    main()
