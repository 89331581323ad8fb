"""Makes the gallery of the site: one picture for every step, and the page that shows them.

``python docs/pictures.py`` writes docs/steps/*.png and docs/gallery.md; ``nox -s docs`` does so before it builds the site.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import pcs_augment as pa
from pcs_augment.base import Step
from pcs_augment.sample import sample_path

HERE = Path(__file__).parent
SHOWN = 4  # results of each step, beside the picture that went in
SIDE = 192  # px of the sample's pictures that are shown


def steps() -> list[type[Step]]:
    """All public steps, as the library lists them."""
    found = [getattr(pa, name) for name in pa.__all__]
    return [kind for kind in found if inspect.isclass(kind) and issubclass(kind, Step) and kind is not Step]


def picture(kind: type[Step]) -> np.ndarray | None:
    """(H, W) the same picture before, and several times after, a certain step; None for one that drops objects alone."""
    image, target, _ = pa.PcsDataset(sample_path())[1]
    step = kind(p=1.0) if "p" in inspect.signature(kind).parameters else kind()
    images, targets = image[None].repeat(SHOWN, 1, 1, 1), [target] * SHOWN
    out, _ = step(images, targets, index=torch.arange(SHOWN), epoch=1)
    before = image[0].float() / 255
    if torch.equal(out[:, 0], before.expand_as(out[:, 0])):
        return None
    tiles = [before, *out[:, 0]]
    tiles = [t[:SIDE, :SIDE] for t in tiles]
    gap = torch.ones(SIDE, 6)
    row = torch.cat([p for t in tiles for p in (t, gap)][:-1], 1)
    return (row * 255).round().byte().numpy()


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
        lines += ["```python", f"images = pa.{kind.__name__}()(images)", "```", ""]
    (HERE / "gallery.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
