"""Render crystals, train with them, find crystals: ``python examples/render_and_train.py [DATA] [FOLDER]``.

DATA: a rendered data set, a folder or JSON; without it eight pictures are rendered, which needs ``pip install ".[blender]"``.
The rest needs the training half of pcs_detect. In earnest: thousands of pictures, and ``--epochs`` to match.
"""

import subprocess
import sys
from pathlib import Path

from pcs_augment.sample import sample_path
from pcs_detect.inference.detector import Detector
from pcs_detect.training.engine.train import train


def rendered(out: Path, count: int = 8) -> Path:
    """A small data set of pcs-render; the same command again resumes where it stopped."""
    settings = Path(__file__).resolve().parents[1] / "benchmarks" / "settings" / "microscope.yaml"
    options = ["--settings", settings, "--profile", "draft", "--count", count, "--validation", 2, "--seed", 1, "--out", out]
    subprocess.run(["pcs-render", "render", *map(str, options)], check=True)
    return out


def main(data: str | Path | None = None, out: str | Path = "miniature", epochs: int = 1) -> int:
    """Train on from the weights that ship; returns how many crystals the new detector finds in a picture."""
    out = Path(out)
    source = Path(data) if data is not None else rendered(out / "data")
    checkpoint = train(
        "rtmdet_r_narrow", source, out=out / "training", start="shipped", epochs=epochs, batch_size=4, workers=0, device="cpu"
    )
    picture = min(sample_path().with_suffix("").glob("*.png"))
    crystals = Detector(checkpoint).predict(picture)
    print(f"{checkpoint}: {len(crystals)} crystals in {picture.name}")
    return len(crystals)


if __name__ == "__main__":
    main(*sys.argv[1:3])
