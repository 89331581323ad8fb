"""One picture per setting that makes a rendered drop look like one under a bright-field microscope.

    python benchmarks/render_looks.py --out docs/render_looks.png

Each picture has one setting more than the one before it; below it, its labels.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

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
ACROSS = 4  # pictures side by side: a page shows them in 900 px
TYPE, GAP = 24, 8  # px; 14 px on such a page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", type=Path, default=Path(__file__).with_name("settings") / "microscope.yaml")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--image", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("render_looks.png"))
    args = parser.parse_args()
    final = load_settings(args.settings).to_dict()
    chosen = Settings().to_dict()
    columns: list[tuple[str, np.ndarray]] = []
    with Renderer(PROFILES["default"]) as lamps, Renderer(PROFILES["draft"]) as below:
        for title, names in STEPS:
            chosen |= {name: final[name] for name in names}
            columns.append(_column(title, Settings(**chosen), args, below if chosen["bright_field"] else lamps))
    if chosen != final:
        raise SystemExit(f"no column shows {sorted(k for k in final if final[k] != chosen[k])}")
    sheet(columns).quantize(128, dither=Image.Dither.NONE).save(
        args.out, optimize=True
    )  # a third of the bytes, no visible difference


def _column(title: str, settings: Settings, args: argparse.Namespace, renderer: Renderer) -> tuple[str, np.ndarray]:
    """A heading, and a picture above its labels."""
    scene = Job.of(settings, renderer.profile, args.seed).scene(args.image)
    with Image.open(io.BytesIO(renderer.render(scene).png)) as picture:
        pixels = np.asarray(picture)
    found = labels(scene)
    both = np.concatenate((np.repeat(pixels[..., None], 3, 2), labelled(pixels, found.boxes, found.polygons)))
    return f"{title}: {len(found.boxes)} labels", both


def sheet(columns: list[tuple[str, np.ndarray]]) -> Image.Image:
    """Columns with their headings, as many side by side as a page shows well, the others below them."""
    height, width = columns[0][1].shape[:2]
    down, heading = -(-len(columns) // ACROSS), TYPE + 2 * GAP
    whole = Image.new("RGB", (ACROSS * (width + GAP) - GAP, down * (heading + height + GAP) - GAP), "white")
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(TYPE)
    for i, (title, column) in enumerate(columns):
        x, y = i % ACROSS * (width + GAP), i // ACROSS * (heading + height + GAP)
        draw.text((x + 4, y + heading // 2), title, "black", font, anchor="lm")
        whole.paste(Image.fromarray(column), (x, y + heading))
    return whole


if __name__ == "__main__":
    main()
