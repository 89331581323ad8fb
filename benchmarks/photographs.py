"""A detector on photographs and on rendered pictures: the figures that stand in its card.

    python benchmarks/photographs.py --photographs FOLDER --labels LABELS [--validation clean.json frozen.json] [MODEL]

MODEL: an .onnx file or a checkpoint; by default the detector that ships. Photographs are looked at with the detector's own
scales and grey values, and twice: at its default score, as ``pcs-detect predict`` does, for precision, recall, errors of sizes,
seconds and the overlays that go to --out, to be looked at; and from a score of 0.05 on, where boxes count that predict never
sees, for AP50 and AP. Rendered pictures are PCS JSON files with their images beside them, from a score of 0.05 on too.
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
from pcs_detect.photographs.finding import find_photographs
from pcs_detect.photographs.fringes import Fringes
from pcs_detect.photographs.reading import read_photograph

LEAST = 0.05  # score from which average precision is taken


def found_in(detector: Detector, paths: Sequence[Path], out: Path | None = None) -> tuple[pd.DataFrame, dict[str, float]]:
    """The crystals of photographs, and the seconds that each took; overlays to ``out``."""
    tables, seconds = [], {}
    for path in tqdm(paths):
        began = time.perf_counter()
        grey = read_photograph(path)
        found = detector.detect(grey)
        seconds[path.name] = time.perf_counter() - began
        tables.append(crystal_table(path.name, found.boxes, found.scores, np.zeros(len(found.scores), bool), None))
        if out is not None:
            drawing.save_picture(drawing.overlay(grey.round().astype(np.uint8), found.boxes), out / f"{path.name}.png")
    return pd.concat(tables, ignore_index=True), seconds


def photographs(usual: Detector, every: Detector, folder: Path, labels: Path, out: Path) -> None:
    """Print figures of the labelled photographs; write overlays of all. usual: at its default score; every: from LEAST on."""
    truths, _ = read_truths(labels)
    out.mkdir(parents=True, exist_ok=True)
    paths = find_photographs([folder])
    table, _ = found_in(every, paths)
    table.to_csv(out / "crystals.csv", index=False)
    crystals, known, left = read_found(out / "crystals.csv", truths)
    print(f"AP from score {LEAST}; precision and recall at the score with the best F1")
    print(shown(score_table(crystals, known)))
    reported, seconds = found_in(usual, paths, out)
    at_default = []
    for name, truth in known.items():
        rows = reported[reported["image"] == name]
        boxes = rows[["x_px", "y_px", "width_px", "height_px", "angle_deg"]].to_numpy(np.float64, copy=True)
        boxes[:, 4] = np.radians(boxes[:, 4])
        at_default.append(match(boxes, rows["score"].to_numpy(np.float64), truth))
    matched = together(at_default)
    hits = int(matched.hits[:, 0].sum())
    errors = figures(matched)
    precision, recall = hits / max(len(matched.hits), 1), hits / max(matched.labels, 1)
    width, height = errors["width_error"], errors["height_error"]
    at = f"at the default score {usual.score:g}"
    print(f"{at}: precision {precision:.3f}, recall {recall:.3f}, errors {width:.3f}, {height:.3f}")
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
    parser.add_argument("--keep-fringes", action="store_true", help="as predict has it")
    parser.add_argument("--out", type=Path, default=Path("out/photographs"), help="folder for overlays (default: %(default)s)")
    args = parser.parse_args()
    if (args.photographs is None) != (args.labels is None):
        parser.error("give --photographs and --labels together")
    fringes: Fringes = "keep" if args.keep_fringes else "remove"
    every = Detector(args.model, score=LEAST, fringes=fringes)
    if args.photographs is not None:
        photographs(Detector(args.model, fringes=fringes), every, args.photographs, args.labels, args.out)
    for path in args.validation:
        print(path.name, ", ".join(f"{name} {100 * value:.1f}" for name, value in rendered(every, path, args.first).items()))


if __name__ == "__main__":
    main()
