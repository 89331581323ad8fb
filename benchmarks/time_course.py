"""A crystallisation that is known: growing crystals rendered, found and measured, and how far the sizes are off.

    python benchmarks/time_course.py CHECKPOINT --out out/time_course

Two replicates are rendered at several times (``pcs-render``, scenes as in detect_noise.yaml, areas that grow with time), and
frozen with noise (``pcs-augment freeze``). ``pcs-detect predict`` finds the crystals in the clean and in the noisy photographs,
``sizes`` and ``report`` work on them as on those of a scientist. Their medians are compared with those of the labels, and the
Kolmogorov-Smirnov tests asked what they should know: the replicates are of one distribution, the first and the last time are
not. CHECKPOINT is of a detector that learned from such scenes, detect_noise.py for instance.
Scenes that are there are not rendered again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from pcs_augment.data import PcsDataset
from pcs_augment.freeze import freeze
from pcs_detect.crystals.tables import crystal_table, write_table
from pcs_detect.sizes.comparisons import ks_test

REPLICATES = 2
HOURS = (1, 2, 3, 4, 5)
KINDS = ("clean", "noisy")
UM_PER_PX = 0.84


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--images", type=int, default=8, help="of each replicate and time (default: %(default)s)")
    parser.add_argument("--score", default="0.3", help="crystals from this score on (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/time_course"))
    args = parser.parse_args()
    groups = [(replicate, hour) for replicate in range(1, REPLICATES + 1) for hour in HOURS]
    for replicate, hour in groups:
        photographs(args.out, replicate, hour, args.images)
    truth = pd.concat([labels(folder(args.out, "clean", *g) / "images.json") for g in groups], ignore_index=True)
    (args.out / "labels").mkdir(exist_ok=True)
    write_table(truth, args.out / "labels" / "crystals.csv")
    write_table(group_table(args.out, groups), args.out / "groups.csv")
    sizes(args.out / "labels", args.out)
    rows = []
    for kind in KINDS:
        found = args.out / f"found_{kind}"
        began = time.monotonic()
        pictures = [str(folder(args.out, kind, *g) / "images") for g in groups]
        detect("predict", *pictures, "--checkpoint", args.checkpoint, "--out", found, *options(args.score))
        seconds = time.monotonic() - began
        sizes(found, args.out)
        detect("report", found, "--sizes", found / "sizes", "--out", found / "report.html")
        rows.append(compared(args.out, kind))
        print(f"{kind}: {seconds:.0f} s for {args.images * len(groups)} photographs\n{rows[-1].to_string(index=False)}")
        print(asked(args.out, found))
    print(f"labels\n{asked(args.out, args.out / 'labels')}")
    write_table(pd.concat(rows), args.out / "medians.csv")
    draw(pd.concat(rows), args.out / "medians.png")


def options(score: str) -> tuple[str, ...]:
    return "--um-per-px", str(UM_PER_PX), "--score", score, "--device", "cpu", "--overwrite"


def folder(out: Path, kind: str, replicate: int, hour: int) -> Path:
    return out / kind / f"replicate{replicate}_{hour}h"


def photographs(out: Path, replicate: int, hour: int, images: int) -> None:
    """Render one replicate at one time, and freeze it with noise; names of images say which they are."""
    clean = folder(out, "clean", replicate, hour)
    if not (clean / "images.json").exists():
        settings = yaml.safe_load(Path(__file__).with_name("detect_noise.yaml").read_text())
        grown = ((1 + hour) / (1 + HOURS[-1])) ** 2  # sides grow by the same length every hour
        settings["area"] = [max(144.0, 400 * grown), 3600 * grown]
        (out / "settings").mkdir(parents=True, exist_ok=True)
        path = out / "settings" / f"{hour}h.yaml"
        path.write_text(yaml.safe_dump(settings))
        scenes = out / "scenes" / clean.name
        shutil.rmtree(clean, ignore_errors=True)  # of a run that was stopped on the way
        seed = str(1000 * replicate + hour)
        render("render", "--count", images, "--seed", seed, "--settings", path, "--workers", 2, "--out", scenes)
        render("export", scenes, "--out", clean, "--validation", 0)
        renamed(clean)
    freeze(clean / "images.json", folder(out, "noisy", replicate, hour), seed=100 * replicate + hour)


def renamed(clean: Path) -> None:
    """Images of different groups get different names; the JSON becomes images.json."""
    document = json.loads((clean / "train.json").read_text())
    (clean / "train").rename(clean / "images")
    for image in document["images"]:
        name = f"{clean.name}_{image['file_name']}"
        (clean / "images" / image["file_name"]).rename(clean / "images" / name)
        image["file_name"] = name
    (clean / "images.json").write_text(json.dumps(document))


def labels(path: Path) -> pd.DataFrame:
    """The labels as a table of crystals."""
    data = PcsDataset(path)
    tables = []
    for (image, target, _), name in zip(data, data.file_names):
        boxes = target["boxes"].double().numpy()
        touches = [
            bool((o < 1).any() or (o[:, 0] > image.shape[2] - 1).any() or (o[:, 1] > image.shape[1] - 1).any())
            for o in target["polygons"]
        ]
        tables.append(crystal_table(Path(name).name, boxes, np.ones(len(boxes)), touches, UM_PER_PX))
    return pd.concat(tables, ignore_index=True)


def group_table(out: Path, groups: list[tuple[int, int]]) -> pd.DataFrame:
    rows = []
    for replicate, hour in groups:
        names = sorted(p.name for p in (folder(out, "clean", replicate, hour) / "images").iterdir())
        rows += [{"image": name, "replicate": f"replicate {replicate}", "time": hour} for name in names]
    return pd.DataFrame(rows)


def sizes(crystals: Path, out: Path) -> None:
    detect("sizes", crystals, "--groups", out / "groups.csv", "--out", crystals / "sizes")


def compared(out: Path, kind: str) -> pd.DataFrame:
    """Medians of the found crystals beside those of the labels, group by group."""
    keys = ["replicate", "time"]
    true, found = (
        pd.read_csv(out / name / "sizes" / "groups.csv")[[*keys, "n_measured", "width_um_median", "height_um_median"]]
        for name in ("labels", f"found_{kind}")
    )
    table = true.merge(found, on=keys, suffixes=("_true", "_found"))
    for side in ("width", "height"):
        table[f"{side}_off"] = table[f"{side}_um_median_found"] / table[f"{side}_um_median_true"] - 1
    return table.assign(kind=kind)


def asked(out: Path, crystals: Path) -> str:
    """What Kolmogorov-Smirnov tests say of replicates at each time, and of the first and the last time."""
    table = pd.read_csv(crystals / "crystals.csv").merge(pd.read_csv(out / "groups.csv"), on="image")
    table = table[~table.at_border]
    lines = []
    for hour, part in table.groupby("time"):
        one, two = (g.width_um.to_numpy() for _, g in part.groupby("replicate"))
        lines.append(f"  replicates at {hour} h: p = {ks_test(one, two)[1]:.3f} ({len(one)}, {len(two)} crystals)")
    first, last = (table.width_um[table.time == hour].to_numpy() for hour in (HOURS[0], HOURS[-1]))
    lines.append(f"  {HOURS[0]} h against {HOURS[-1]} h: p = {ks_test(first, last)[1]:.2g}")
    return "\n".join(lines)


def draw(table: pd.DataFrame, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, side in zip(figure.subplots(1, 2), ("width", "height")):
        for (replicate, rows), marker in zip(table.groupby("replicate"), "os"):
            clean = rows[rows.kind == "clean"]
            axis.plot(clean.time, clean[f"{side}_um_median_true"], "-", color="0.4", label=f"{replicate}, labels")
            for kind, colour, shift in zip(KINDS, ("tab:green", "tab:blue"), (-0.05, 0.05)):
                mine = rows[rows.kind == kind]
                found = mine[f"{side}_um_median_found"]
                axis.plot(mine.time + shift, found, marker, color=colour, mfc="none", label=f"{replicate}, found in {kind}")
        axis.set(xlabel="time / h", ylabel=f"median {side} / um", ylim=(0, None))
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=150)


def render(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "pcs_render.cli", *map(str, arguments), "--quiet"], check=True)


def detect(*arguments: object) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-m", "pcs_detect.cli", *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
