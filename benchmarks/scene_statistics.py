"""What the scenes of each stopping rule show, against its model: ``python benchmarks/scene_statistics.py [--scenes 5000]``.

Builds scenes without rendering them, prints Markdown tables, and draws figure 1 d-f of the paper for both rules.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pcs_augment.files import made_folder, written
from pcs_render import generate, habits
from pcs_render.draw import CLASSES, size_classes
from pcs_render.labels import labels
from pcs_render.report import Analysis, Sample, figures
from pcs_render.settings import Settings

RULES = ("published", "unbiased")
FRAME = 0.1  # of the image's side: how wide a border is looked at

_given: dict = {}  # of a worker: what all its scenes have in common


def _begin(shapes: list[np.ndarray]) -> None:
    _given.update(shapes=shapes)


def _one(job: tuple[str, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[float, float]]:
    """Boxes, targets, targets skipped, covered area of one scene."""
    rule, seed, image = job
    scene = generate.scene(Settings(rule=rule), seed, image, _given["shapes"])
    found = labels(scene)
    unmet = np.array([(t.area, t.ratio, t.angle, t.largest) for t in scene.unmet]).reshape(-1, 4)
    return found.boxes, found.targets, unmet, scene.covered


def sample(rule: str, seed: int, count: int, pool) -> Sample:
    scenes = pool.imap(_one, [(rule, seed, image) for image in range(count)], chunksize=4)
    boxes, targets, unmet, covered = zip(*tqdm(scenes, total=count, desc=rule))
    return Sample(
        rule,
        Settings(rule=rule),
        np.concatenate(boxes),
        np.array([len(b) for b in boxes]),
        np.concatenate(targets),
        np.concatenate(unmet),
        np.array(covered),
    )


def distances(analyses: list[Analysis]) -> str:
    lines = ["| rule | quantity | of | D | 1 % level | n |", "|---|---|---|---|---|---|"]
    for a in analyses:
        for t in a.tests:
            d, level = t.agreement.statistic, t.agreement.critical
            bold = "" if t.passed else "**"
            rule = a.sample.settings.rule
            lines.append(f"| {rule} | {t.quantity} | {t.of} | {bold}{d:.5f}{bold} | {level:.5f} | {t.agreement.n} |")
    return "\n".join(lines)


def totals(analyses: list[Analysis], seconds: list[float]) -> str:
    """One column per rule."""
    rows: dict[str, list[str]] = {}
    for a, spent in zip(analyses, seconds):
        s, c = a.sample, a.area_classes
        assert s.unmet is not None
        assert s.covered is not None
        assert a.drawn is not None
        given_up = f"{len(s.unmet)} of {len(a.drawn)} ({len(s.unmet) / len(a.drawn):.4%})"
        share, ratio = s.unmet[:, 0].sum() / a.drawn[:, 0].sum(), s.unmet[:, 1].sum() / max(len(s.unmet), 1)
        off = np.abs((c.total - c.expected) / c.deviation).max()
        full = (s.counts >= s.settings.max_crystals).mean()
        column = {
            "scenes": f"{len(s.counts)}",
            "crystals per image (simulated without geometry)": f"{s.counts.mean():.2f} ({a.process.counts.mean():.2f})",
            "images with the largest number of crystals": f"{full:.2%}",
            "covered, asked for and reached": f"{s.covered[:, 0].mean():.4f}, {s.covered[:, 1].mean():.4f}",
            "targets skipped": given_up,
            "their share of the area, mean aspect ratio": f"{share:.4%}, {ratio:.2f}",
            "distance of targets placed from all drawn": ", ".join(f"{k} {v:.6f}" for k, v in a.shifts.items()),
            "summed area per class over its mean, lowest to highest": f"{c.relative.min():.3f} to {c.relative.max():.3f}",
            "standard deviation of a class by chance": f"{(c.deviation / c.expected).max():.3f} at most",
            "largest distance of a class from the model": f"{off:.2f} deviations",
            "total area over the model's": f"{c.total.sum() / c.expected.sum():.4f}",
            "seconds": f"{spent:.0f}",
        }
        for name, text in column.items():
            rows.setdefault(name, []).append(text)
    head = ["", *(a.sample.settings.rule for a in analyses)]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join(lines + [f"| {' | '.join([name, *texts])} |" for name, texts in rows.items()])


def classes(analyses: list[Analysis]) -> str:
    names = [a.sample.settings.rule for a in analyses]
    lines = ["| class, px² |" + "".join(f" {n} | model | deviation |" for n in names), "|" + "---|" * (1 + 3 * len(names))]
    edges = analyses[0].area_classes.edges
    for k in range(len(edges) - 1):
        cells = []
        for a in analyses:
            c = a.area_classes
            cells += [f"{v[k] / c.expected.mean():.3f}" for v in (c.total, c.expected, c.deviation)]
        lines.append(f"| {edges[k]:.0f} to {edges[k + 1]:.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def borders(analyses: list[Analysis]) -> str:
    """Centres near the border: crystals must not touch it, so large ones keep away."""
    lines = ["| rule | " + " | ".join(CLASSES) + " | evenly spread |", "|" + "---|" * 5]
    for a in analyses:
        s, b = a.sample.settings, a.sample.boxes
        near = np.minimum(b[:, :2], (s.width, s.height) - b[:, :2]).min(1) < FRAME * min(s.width, s.height)
        kind = size_classes(b)
        cells = [f"{near[kind == k].mean():.1%}" for k in range(len(CLASSES))]
        lines.append(f"| {s.rule} | {' | '.join(cells)} | {1 - (1 - 2 * FRAME) ** 2:.1%} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=5000, help="under each rule (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first rule; the second has the next (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/scene_statistics.png"), help="picture (default: %(default)s)")
    args = parser.parse_args()
    analyses, seconds = [], []
    shapes = [shape.vertices for shape in habits.shapes(Settings())]
    with multiprocessing.Pool(args.processes, _begin, (shapes,)) as pool:
        for seed, rule in enumerate(RULES, args.seed):  # or both would draw the same ratios and angles
            start = time.perf_counter()
            analyses.append(Analysis(sample(rule, seed, args.scenes, pool)))
            seconds.append(time.perf_counter() - start)
    print("Kolmogorov-Smirnov distances (bold: beyond the 1 % level)\n\n" + distances(analyses))
    print(f"\nTotals, {args.processes} processes\n\n" + totals(analyses, seconds))
    print("\nSummed box area in 16 classes of equal width, relative to the model's mean\n\n" + classes(analyses))
    print(f"\nCentres within {FRAME:.0%} of the border\n\n" + borders(analyses))
    made_folder(args.out.parent)
    with written(args.out) as temporary:
        temporary.write_bytes(figures.png(figures.distributions(*analyses)))
    print(f"\n{args.out}")


if __name__ == "__main__":
    main()
