"""A detector on photographs and on rendered pictures: the figures that stand in its card.

    python benchmarks/photographs.py --photographs FOLDER --labels LABELS [--validation clean.json frozen.json] [MODEL]

MODEL: an .onnx file or a checkpoint; by default the detector that ships. Photographs are looked at with the detector's own
default score, scales and grey values, as ``pcs-detect predict`` does; precision and recall are those at the default score, AP50
and AP are taken from a score of 0.05 on. Rendered pictures are PCS JSON files with their images beside them, taken from a score
of 0.05 on too. Overlays of the photographs go to --out, to be looked at.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from pcs_detect.crystals import drawing
from pcs_detect.crystals.tables import crystal_table
from pcs_detect.evaluation.average_precision import Evaluator
from pcs_detect.evaluation.score import figures, match, read_found, score_table, shown, together
from pcs_detect.inference.detector import Detector
from pcs_detect.labels.truth import read_truths
from pcs_detect.photographs.reading import read_photograph

LEAST = 0.05  # score from which average precision is taken


def found_in(detector: Detector, paths: Sequence[Path], out: Path | None = None) -> tuple[pd.DataFrame, dict[str, float]]:
    """The crystals of photographs, and the seconds that each took; overlays of those of its default score to ``out``."""
    tables, seconds = [], {}
    for path in tqdm(paths):
        began = time.perf_counter()
        grey = read_photograph(path)
        found = detector.detect(grey)
        seconds[path.name] = time.perf_counter() - began
        tables.append(crystal_table(path.name, found.boxes, found.scores, np.zeros(len(found.scores), bool), None))
        if out is not None:
            picture = drawing.overlay(grey.round().astype(np.uint8), found.boxes[found.scores >= detector.look.score])
            drawing.save_picture(picture, out / f"{path.stem}.png")
    return pd.concat(tables, ignore_index=True), seconds


def photographs(detector: Detector, folder: Path, labels: Path, out: Path) -> None:
    """Print the table of the labelled photographs; write overlays of all at the default score."""
    truths, _ = read_truths(labels)
    out.mkdir(parents=True, exist_ok=True)
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".tif", ".tiff"))
    table, seconds = found_in(detector, paths, out)
    default = detector.look.score
    table.to_csv(out / "crystals.csv", index=False)
    crystals, known, left = read_found(out / "crystals.csv", truths)
    print(f"AP from score {LEAST}; precision and recall at the score with the best F1")
    print(shown(score_table(crystals, known)))
    at_default = []
    for name, truth in known.items():
        rows = crystals[(crystals["image"] == name) & (crystals["score"] >= default)]
        boxes = rows[["x_px", "y_px", "width_px", "height_px", "angle_deg"]].to_numpy(np.float64, copy=True)
        boxes[:, 4] = np.radians(boxes[:, 4])
        at_default.append(match(boxes, rows["score"].to_numpy(np.float64), truth))
    every = together(at_default)
    hits = int(every.hits[:, 0].sum())
    errors = figures(every)
    precision, recall = hits / max(len(every.hits), 1), hits / max(every.labels, 1)
    width, height = errors["width_error"], errors["height_error"]
    print(f"at the default score {default:g}: precision {precision:.3f}, recall {recall:.3f}, errors {width:.3f}, {height:.3f}")
    print("seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
    for line in left:
        print(line)


def rendered(detector: Detector, labels: Path, first: int | None) -> dict[str, float]:
    """AP of a PCS JSON."""
    evaluator = Evaluator()
    document = json.loads(labels.read_text())
    truths: dict[int, list[list[float]]] = {image["id"]: [] for image in document["images"]}
    for annotation in document["annotations"]:
        x, y, w, h, degrees = annotation["bbox"]
        truths[annotation["image_id"]].append([x, y, w, h, -math.radians(degrees)])
    for image in tqdm(document["images"][:first], desc=labels.stem):
        grey = np.asarray(Image.open(labels.with_suffix("") / image["file_name"]).convert("L"), np.float32)
        found = detector.detect(grey)
        evaluator.add(image["id"], found.boxes, found.scores, np.array(truths[image["id"]]).reshape(-1, 5))
    return {name: float(value) for name, value in evaluator.curves().summary().items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="detector (default: the one that ships)")
    parser.add_argument("--photographs", type=Path, help="folder of photographs")
    parser.add_argument("--labels", type=Path, help="their labels, as pcs-detect score takes them")
    parser.add_argument("--validation", type=Path, nargs="*", default=[], help="PCS JSON files")
    parser.add_argument("--first", type=int, help="so many pictures of each (default: all)")
    parser.add_argument("--out", type=Path, default=Path("out/photographs"), help="folder for overlays (default: %(default)s)")
    args = parser.parse_args()
    if (args.photographs is None) != (args.labels is None):
        parser.error("give --photographs and --labels together")
    detector = Detector(args.model, score=LEAST)
    if args.photographs is not None:
        photographs(detector, args.photographs, args.labels, args.out)
    for path in args.validation:
        print(path.name, ", ".join(f"{name} {100 * value:.1f}" for name, value in rendered(detector, path, args.first).items()))


if __name__ == "__main__":
    main()
