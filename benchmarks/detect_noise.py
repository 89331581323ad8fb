"""What the noise pipeline is worth: one small detector trained with it and without, evaluated on clean and on noisy images.

    pcs-render render --count 512 --settings benchmarks/detect_noise.yaml --seed 2022 --out out/scenes
    python benchmarks/detect_noise.py out/scenes --validation 60 --out out/detect_noise

The settings show few and not too small crystals on 192 x 192 px, which a small detector learns from some hundred scenes in an
hour or two on two cores; dense suspensions take it days. The validation images are frozen once with noise (``pcs-augment
freeze``).
The same network learns twice from random weights, from the same images in the same order, turned and mirrored at random: once
with the rest of the noise pipeline, once without. The two run side by side with one thread each, can be killed and started
again, and end in ``results.csv`` and ``curves.png``. Needs pcs_detect.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pcs_augment.freeze import freeze

ARMS = ("without noise", "with noise")
SETS = ("clean", "noisy")
NOISE = "model.data_preprocessor.augment"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of pcs-render")
    parser.add_argument("--validation", type=int, default=60, help="images kept for validation (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=200, help="epochs of each training (default: %(default)s)")
    parser.add_argument("--every", type=int, default=20, help="epochs between evaluations (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--config", default="s2anet_tiny_c3")
    parser.add_argument("--out", type=Path, default=Path("out/detect_noise"))
    parser.add_argument("--part", choices=[a.replace(" ", "_") for a in ARMS], help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.part:
        run_arm(args, args.part.replace("_", " "))
        return
    validation_sets(args)
    began = time.monotonic()
    command = [sys.executable, "-W", "ignore", *sys.argv]
    with ThreadPoolExecutor(len(ARMS)) as pool:
        parts = [
            pool.submit(subprocess.run, [*command, "--part", a.replace(" ", "_")], check=True, env=one_thread()) for a in ARMS
        ]
    for part in parts:
        part.result()
    rows = [row for a in ARMS for row in read(results(args, a))]
    write(args.out / "results.csv", rows)
    draw(rows, args.out / "curves.png")
    print_table(rows)
    print(f"{(time.monotonic() - began) / 60:.1f} minutes")


def one_thread() -> dict[str, str]:
    return {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"), "1")}


def validation_sets(args: argparse.Namespace) -> None:
    """All images in the published layout, and those for validation also with one fixed draw of the noise."""
    if not clean_set(args).exists():
        command = ["-m", "pcs_render.cli", "export", str(args.data), "--out", str(clean_set(args).parent), "--quiet"]
        subprocess.run([sys.executable, *command, "--validation", str(args.validation)], check=True)
    frozen = freeze(clean_set(args), noisy_set(args).parent, seed=1)
    print(f"noisy validation set: {frozen.images} images, {frozen.objects} crystals, {frozen.dropped} dropped as undetectable")


def clean_set(args: argparse.Namespace) -> Path:
    return args.out / "clean" / "validation.json"


def noisy_set(args: argparse.Namespace) -> Path:
    return args.out / "noisy" / "validation.json"


def results(args: argparse.Namespace, arm: str) -> Path:
    return args.out / f"{arm.replace(' ', '_')}.csv"


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with open(path, "w", newline="") as f:
        writer = csv.DictWriter(f, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def run_arm(args: argparse.Namespace, arm: str) -> None:
    """Train one arm and evaluate its checkpoints on both sets."""
    import torch

    from pcs_detect.training import configs
    from pcs_detect.training.engine.train import evaluate, train

    torch.set_num_threads(1)
    steps = configs.load(args.config).model.data_preprocessor.augment
    if arm == "without noise":
        steps = [s for s in steps if s.type in ("Rotate90", "Flip")]
    options = {
        NOISE: steps,
        "default_hooks.checkpoint.max_keep_ckpts": -1,
        "default_hooks.checkpoint.interval": args.every,
        "train_cfg.val_interval": args.epochs,
    }
    work = args.out / arm.replace(" ", "_")
    train(
        args.config,
        args.out / "clean" / "train.json",
        val=clean_set(args),
        batch_size=args.batch_size,
        epochs=args.epochs,
        out=work,
        resume=True,
        seed=0,
        device="cpu",
        options=options,
    )
    rows = []
    for checkpoint in sorted(work.glob("epoch_*.pth"), key=lambda p: int(re.findall(r"\d+", p.stem)[0])):
        epoch = int(re.findall(r"\d+", checkpoint.stem)[0])
        for name, path in zip(SETS, (clean_set(args), noisy_set(args))):
            metrics = evaluate(args.config, checkpoint, path, device="cpu")
            rows.append({"arm": arm, "epoch": epoch, "set": name} | {k: f"{v:.4f}" for k, v in metrics.items()})
    write(results(args, arm), rows)


def draw(rows: list[dict[str, str]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharex=True, constrained_layout=True)
    colours = dict(zip(ARMS, ("tab:red", "tab:blue")))
    for axis, key in zip(axes, ("AP", "AP50")):
        for arm in ARMS:
            for name, style in zip(SETS, ("--", "-")):
                mine = [r for r in rows if r["arm"] == arm and r["set"] == name]
                epochs, values = [int(r["epoch"]) for r in mine], [float(r[key]) for r in mine]
                axis.plot(epochs, values, style, marker="o", ms=3, color=colours[arm], label=f"trained {arm}, {name} images")
        axis.set(xlabel="epoch", ylabel=key, ylim=(0, None))
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


def print_table(rows: list[dict[str, str]]) -> None:
    last = max(int(r["epoch"]) for r in rows)
    keys = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    print(f"after {last} epochs:\n{'trained':14} {'images':7}" + "".join(f"{k:>8}" for k in keys))
    for r in rows:
        if int(r["epoch"]) == last:
            print(f"{r['arm']:14} {r['set']:7}" + "".join(f"{float(r[k]):8.3f}" for k in keys))


if __name__ == "__main__":
    main()
