"""Several detectors on the same photographs and rendered pictures: what scenes, noise or network are worth.

    python benchmarks/compare_detectors.py "paper=a.onnx" "drops=b.onnx" --photographs FOLDER --labels LABELS \\
        --validation clean.json frozen.json --out compared.png

Prints a table in Markdown, a row for each NAME=MODEL: AP50 of the labelled photographs together, their mean and each; at the
score with the best F1 precision and recall; AP of each file of --validation. All from a score of 0.05 on. The picture has a
column for each detector and a row for each labelled photograph, with the crystals of that score.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from photographs import LEAST, found_in, rendered
from PIL import Image, ImageDraw, ImageFont

from pcs_detect.crystals import drawing
from pcs_detect.evaluation.score import read_found, score_table
from pcs_detect.inference.detector import Detector
from pcs_detect.labels.truth import read_truths
from pcs_detect.photographs.finding import find_photographs
from pcs_detect.photographs.reading import read_photograph

WIDTH, TYPE, GAP = 420, 22, 6  # px of a photograph in the picture, of the words above, between photographs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detectors", nargs="+", metavar="NAME=MODEL")
    parser.add_argument("--photographs", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--labels", type=Path, required=True, help="their labels, as pcs-detect score takes them")
    parser.add_argument("--validation", type=Path, nargs="*", default=[], help="PCS JSON files")
    parser.add_argument("--first", type=int, help="so many pictures of each (default: all)")
    parser.add_argument("--out", type=Path, default=Path("out/compared.png"), help="picture (default: %(default)s)")
    args = parser.parse_args()
    truths, _ = read_truths(args.labels)
    labelled = {Path(name).stem for name in truths}
    paths = [p for p in find_photographs([args.photographs]) if p.stem in labelled]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = [], []
    for word in args.detectors:
        name, _, model = word.partition("=")
        detector = Detector(model, score=LEAST)
        crystals, _ = found_in(detector, paths)
        file = args.out.with_name(f"{args.out.stem}_{len(rows)}.csv")
        crystals.to_csv(file, index=False)
        crystals, known, _ = read_found(file, truths)
        table = score_table(crystals, known).set_index("image")
        every = table.loc["all"]
        rows.append(
            {
                "": name,
                "AP50": every["AP50"],
                "mean": table.loc["mean", "AP50"],
                **{Path(p).stem: table.loc[p, "AP50"] for p in known},
                "precision": every["precision"],
                "recall": every["recall"],
                **{f"AP {v.stem}": rendered(detector, v, args.first)["AP"] for v in args.validation},
            }
        )
        columns.append(_column(name, paths, crystals[crystals["score"] >= every["score"]]))
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(v if isinstance(v, str) else f"{v:.2f}" for v in row.values()) + " |")
    picture = Image.fromarray(drawing.contact_sheet(columns, columns=len(columns)))
    picture.quantize(128, dither=Image.Dither.NONE).save(args.out, optimize=True)


def _column(name: str, paths: list[Path], crystals: pd.DataFrame) -> np.ndarray:
    """The name above the photographs, each with its crystals."""
    head = Image.new("RGB", (WIDTH, TYPE + 12), "white")
    ImageDraw.Draw(head).text((2, 4), name, "black", ImageFont.load_default(TYPE))
    panels = [np.asarray(head)]
    gap = np.full((GAP, WIDTH, 3), 255, np.uint8)
    for path in paths:
        grey = read_photograph(path)
        scale = WIDTH / grey.shape[1]
        small = Image.fromarray(grey.round().astype(np.uint8)).resize(
            (WIDTH, round(grey.shape[0] * scale)), Image.Resampling.BOX
        )
        mine = crystals[crystals["image"] == path.name]
        boxes = mine[["x_px", "y_px", "width_px", "height_px", "angle_deg"]].to_numpy(np.float64, copy=True)
        boxes *= np.array([scale, scale, scale, scale, np.pi / 180])
        panels += [drawing.overlay(np.asarray(small), boxes, enlarged=2), gap]
    return np.concatenate(panels)


if __name__ == "__main__":
    main()
