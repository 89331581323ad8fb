"""Makes the gallery of the site: one picture for every step, and the page that shows them.

``python docs/pictures.py`` writes docs/steps/*.png and docs/gallery.md; ``nox -s docs`` does so before it builds the site.
``python docs/pictures.py shipped`` makes anew what lies in the repository: docs/gallery.png and docs/microscope.png.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import pcs_augment as pa
from pcs_augment.base import Step
from pcs_augment.demo import SEED
from pcs_augment.gallery import preview
from pcs_augment.sample import sample_path

HERE = Path(__file__).parent
SHOWN = 4  # results of each step, beside the picture that went in
SIDE = 192  # px of each picture on the page
WIDE, CRYSTAL, EDGES = (0, 0, SIDE), (8, 48, 96), (88, 100, 64)  # left, top and side of a part of a picture, px
# where the whole does not show at first sight what a step does: its arguments, and the part that is shown
SHOWN_AS: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "Displace": ({}, EDGES),
    "Scratches": ({"lines": (5, 7), "strength": (0.7, 1.0)}, WIDE),
    "Debris": ({"groups": (4, 6)}, WIDE),
    "Blur": ({}, EDGES),
    "JPEG": ({}, EDGES),
    "Sharpen": ({}, EDGES),
    "Marks": ({"each": 1.0}, CRYSTAL),
    "Highlight": ({"fill": 0.6}, WIDE),
    "GaussianNoise": ({}, CRYSTAL),
}


def steps() -> list[type[Step]]:
    """All public steps, as the library lists them."""
    found = [getattr(pa, name) for name in pa.__all__]
    return [kind for kind in found if inspect.isclass(kind) and issubclass(kind, Step) and kind is not Step]


def picture(kind: type[Step]) -> np.ndarray | None:
    """(H, W) the same picture before, and several times after, a certain step; None for one that drops objects alone."""
    image, target, _ = pa.PcsDataset(sample_path())[1]
    arguments, (left, top, side) = SHOWN_AS.get(kind.__name__, ({}, WIDE))
    step = kind(**arguments, **{name: 1.0 for name in inspect.signature(kind).parameters if name == "p"})
    images, targets = image[None].repeat(SHOWN, 1, 1, 1), [target] * SHOWN
    out, _ = step(images, targets, index=torch.arange(SHOWN), epoch=1)
    before = image[0].float() / 255
    if torch.equal(out[:, 0], before.expand_as(out[:, 0])):
        return None
    tiles = [before, *out[:, 0]]
    tiles = [t[top : top + side, left : left + side] for t in tiles]
    tiles = [t.repeat_interleave(SIDE // side, 0).repeat_interleave(SIDE // side, 1) for t in tiles]
    gap = torch.ones(SIDE, 6)
    row = torch.cat([p for t in tiles for p in (t, gap)][:-1], 1)
    return (row * 255).round().byte().numpy()


def shipped() -> None:
    """What the demonstration draws, and every step for photographs alone; the latter at half the size, which pages show."""
    preview([sample_path()], HERE / "gallery.png", seed=SEED, count=6, columns=6)
    path = preview([sample_path()], HERE / "microscope.png", each_step=True, count=1, pipeline="microscope")
    with Image.open(path) as sheet:
        half = sheet.convert("RGB").resize((sheet.width // 2, sheet.height // 2), Image.Resampling.BOX)
    half.save(path, optimize=True)


def main() -> None:
    folder = HERE / "steps"
    folder.mkdir(exist_ok=True)
    lines = ["# Gallery", "", "Every step, certain, on the same picture: before, and four times after.", ""]
    for kind in steps():
        summary = (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")
        lines += [f"## {kind.__name__}", "", summary, ""]
        shown = picture(kind)
        if shown is not None:
            Image.fromarray(shown).save(folder / f"{kind.__name__}.png")
            lines += [f"![{kind.__name__}](steps/{kind.__name__}.png)", ""]
        arguments = ", ".join(f"{k}={v!r}" for k, v in SHOWN_AS.get(kind.__name__, ({}, WIDE))[0].items())
        lines += ["```python", f"images = pa.{kind.__name__}({arguments})(images)", "```", ""]
    (HERE / "gallery.md").write_text("\n".join(lines))


if __name__ == "__main__":
    if sys.argv[1:] == ["shipped"]:
        shipped()
    else:
        main()
