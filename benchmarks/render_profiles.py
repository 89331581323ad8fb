"""What each way of rendering costs and how close it comes: ``python benchmarks/render_profiles.py --out FOLDER``.

Renders the same scenes under every candidate and compares with 512 samples of another seed; writes a table and a plot of PSNR
over cost. Pictures and times are kept in the folder, so a run that is stopped resumes. Cost is processor time, the sum over
threads, divided by two: seconds on two cores, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import json
import statistics
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from pcs_augment.bench import processor
from pcs_augment.files import made_folder, written
from pcs_render.blender import Blender, Renderer, find_blender
from pcs_render.production import Job
from pcs_render.profile import PROFILES, Profile
from pcs_render.scene import Scene
from pcs_render.settings import Settings

matplotlib.use("Agg")

REFERENCE = dataclasses.replace(PROFILES["published"], name="reference", seed=10**6)


def candidates() -> list[tuple[str, Profile]]:
    """Group, for the colour in the plot, and profile: one setting at a time, from 32 samples with both guides."""
    base = dataclasses.replace(PROFILES["published"], name="32 samples", samples=32)

    def changed(name: str, **changes: object) -> Profile:
        return dataclasses.replace(base, name=name, **changes)  # type: ignore[arg-type]

    found = [("both guides", changed(f"{n} samples", samples=n)) for n in (16, 24, 32, 48, 64)]
    found += [
        ("denoiser", changed("albedo as guide", denoiser="albedo")),
        ("denoiser", changed("no guides", denoiser="rgb")),
        ("denoiser", changed("guides not prefiltered", prefilter="NONE")),
        ("denoiser", changed("guides prefiltered fast", prefilter="FAST")),
        ("denoiser", changed("quality balanced", denoise_quality="BALANCED")),
        ("denoiser", changed("not denoised", denoiser="none")),
        ("bounces", changed("8 bounces", bounces=8)),
        ("bounces", changed("12 bounces", bounces=12)),
        ("light paths", changed("no mirror caustics", caustics_reflective=False)),
        ("light paths", changed("no refractive caustics", caustics_refractive=False)),
        ("light paths", changed("filter glossy 0", filter_glossy=0.0)),
        ("light paths", changed("clamp indirect 3", clamp_indirect=3.0)),
        ("sampling", changed("light tree", light_tree=True)),
        ("sampling", changed("blue noise", pattern="BLUE_NOISE")),
    ]
    for n, threshold in ((64, 0.05), (64, 0.1), (128, 0.1)):
        changes = {"samples": n, "adaptive_threshold": threshold, "adaptive_min_samples": 8}
        found.append(("adaptive", changed(f"8 to {n}, adaptive {threshold}", **changes)))
    named = [("named profile", p) for name, p in PROFILES.items() if name in ("default", "preview")]
    second = ("reference, other seed", dataclasses.replace(REFERENCE, name="512 samples, other seed", seed=2 * 10**6))
    return [*named, second, *found]


class Pictures:
    """Rendered pictures with their cost, kept in a folder."""

    def __init__(self, folder: Path, blender: Blender, threads: int):
        self._folder, self._blender, self._threads = made_folder(folder), blender, threads

    def get(self, profile: Profile, scenes: list[Scene]) -> list[tuple[np.ndarray, float, float]]:
        """Grey values in [0, 1], processor seconds, wall seconds, of each scene."""
        out = []
        with Renderer(profile, self._blender, threads=self._threads, patience=3600) as renderer:
            for scene in scenes:
                shown = hashlib.sha256(scene.to_json().encode()).hexdigest()[:16]
                path = self._folder / f"{profile.hash}-{shown}.png"
                if not path.exists():
                    rendered = renderer.render(scene)
                    times = {"processor": rendered.processor_seconds, "wall": rendered.seconds}
                    with written(path.with_suffix(".json")) as temporary:
                        temporary.write_text(json.dumps(times))
                    with written(path) as temporary:
                        temporary.write_bytes(rendered.png)
                times = json.loads(path.with_suffix(".json").read_bytes())
                with Image.open(io.BytesIO(path.read_bytes())) as image:
                    out.append((np.asarray(image, np.float64) / 255, times["processor"], times["wall"]))
        return out


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """dB, for grey values in [0, 1]; infinite for equal pictures."""
    return float(-10 * np.log10(np.mean((a - b) ** 2))) if (a != b).any() else float("inf")


def plot(path: Path, rows: list[dict], target: float) -> None:
    """A row per candidate, in their order: its PSNR, and what it costs."""
    from matplotlib import pyplot as plt

    figure, (quality, cost) = plt.subplots(1, 2, sharey=True, figsize=(10, 0.3 * len(rows) + 1.2), layout="constrained")
    groups = list(dict.fromkeys(row["group"] for row in rows))
    colours = [f"C{groups.index(row['group'])}" for row in rows]
    places = range(len(rows))
    quality.hlines(places, [r["worst"] for r in rows], [r["psnr"] for r in rows], colors=colours, alpha=0.4)
    quality.scatter([r["psnr"] for r in rows], places, color=colours)
    quality.axvline(target, color="grey", linewidth=0.8)
    quality.set(xlabel="PSNR against the reference, dB: mean, and down to the worst scene")
    quality.set_yticks(places, [r["name"] for r in rows])
    quality.invert_yaxis()
    cost.barh(places, [r["seconds"] for r in rows], color=colours, height=0.6)
    for place, row in zip(places, rows):
        at = (row["seconds"], place)
        cost.annotate(f"{at[0]:.1f}", at, (3, 0), textcoords="offset points", va="center", fontsize=8)
    cost.set(xscale="log", xlabel="seconds per image on two cores")
    cost.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    cost.minorticks_off()
    for axes in (quality, cost):
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130, format="png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=6, help="images 1 to this of seed 0 (default: %(default)s)")
    parser.add_argument("--only", default="", help="measure only the candidates whose name holds this text")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--blender")
    args = parser.parse_args()
    blender = find_blender(args.blender)
    job = Job.of(Settings(), REFERENCE)
    scenes = [job.scene(image) for image in range(1, args.scenes + 1)]
    pictures = Pictures(args.out / "pictures", blender, args.threads)
    print(f"Blender {blender.version}, {processor()}, {args.threads} threads; {len(scenes)} scenes")
    print(f"with {', '.join(str(len(s.crystals)) for s in scenes)} crystals; reference: hash {REFERENCE.hash}")
    reference = [picture for picture, _, _ in pictures.get(REFERENCE, scenes)]
    rows = []
    print("| profile | s on two cores | wall s | PSNR mean, dB | worst |\n|---|---|---|---|---|")
    for group, profile in candidates():
        if args.only not in profile.name:
            continue
        made = pictures.get(profile, scenes)
        values = [psnr(picture, wanted) for (picture, _, _), wanted in zip(made, reference)]
        seconds, wall = (statistics.mean(times) for times in zip(*((p / 2, w) for _, p, w in made)))
        rows.append(
            {"group": group, "name": profile.name, "seconds": seconds, "psnr": statistics.mean(values), "worst": min(values)}
        )
        print(f"| {profile.name} | {seconds:.2f} | {wall:.2f} | {rows[-1]['psnr']:.2f} | {rows[-1]['worst']:.2f} |", flush=True)
    with written(args.out / "profiles.png") as temporary:
        plot(temporary, rows, 38.0)


if __name__ == "__main__":
    main()
