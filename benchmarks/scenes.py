"""How fast and how well scenes are built on one core: ``python benchmarks/scenes.py [cases]``.

Fits 1,000 targets in random poses and compares with a plain optimiser and with OpenCV's rectangles; then builds 100 scenes.
"""

from __future__ import annotations

import sys
import time

import cv2
import numpy as np
from scipy.optimize import minimize
from tqdm import tqdm

from pcs_render import generate, geometry, habits
from pcs_render.fit import Boxes, Tolerance, fit, misses, within
from pcs_render.scene import Camera, Crystal, Target, rotation_matrix
from pcs_render.settings import Settings

CAMERA = Camera(384, 384, 0.7854, 15.0, 15.0, 0.1, 22.5)
TOLERANCE = Tolerance(2.0, 0.2, 2.0)  # equation 6


def optimise(vertices, edges, wanted: Boxes, roll: float, tilt: float, location) -> Boxes:
    """Minimise the deviations over both scales and the angle with Nelder and Mead, from the guess of equation 7."""

    def boxes(x) -> Boxes:
        points = (vertices * np.exp([x[0], x[1], x[1]])) @ rotation_matrix((roll, tilt, x[2])).T + location
        _, sides, along = geometry.rectangles(geometry.project(CAMERA, points) * (1, -1), edges)
        return Boxes(np.array([sides.prod()]), np.array([sides[0] / sides[1]]), along[None])

    def loss(x) -> float:
        size, ratio, sine = misses(boxes(x), wanted)
        return float(size[0] + 10 * ratio[0] + 100 * sine[0])

    unit = np.sqrt(wanted.area[0]) / CAMERA.focal * (CAMERA.distance - location[2])
    spread, root = np.ptp(vertices, axis=0), np.sqrt(wanted.ratio[0])
    start = [np.log(unit * root / spread[0]), np.log(unit / root / spread[1:].mean()), 0.0]
    start[2] = float(np.arctan2(wanted.along[0, 1], wanted.along[0, 0]) / (2 * np.pi))
    return boxes(minimize(loss, start, method="Nelder-Mead", options={"maxfev": 400}).x)


def compare(cases: int) -> None:
    random = np.random.default_rng(0)
    shapes = [s.vertices for s in habits.collection()]
    ours, theirs, rectangles = [], [], []
    fitting = optimising = 0.0
    for _ in tqdm(range(cases), desc="fits"):
        shape = geometry.elongated(shapes[random.integers(len(shapes))], random.uniform(0, 6))
        vertices, edges = geometry.hull_edges(shape)
        area = 4 * 4096 ** random.random(1)
        ratio = 1 + (np.minimum(11.4, 384**2 / area) - 1) * random.random(1)
        angle = np.radians(random.uniform(-90, 90, 1))
        wanted = Boxes(area, ratio, np.stack((np.cos(angle), np.sin(angle)), -1))
        poses = generate.BATCH
        roll, tilt = random.random(poses), random.uniform(-1 / 6, 1 / 6, poses)
        location = np.stack([random.uniform(low, high, poses) for low, high in ((-4, 4), (-4, 4), (-12, -3))], -1)
        start = time.perf_counter()
        found = fit(vertices, edges, Boxes(*(np.repeat(a, poses, 0) for a in wanted)), roll, tilt, location, CAMERA)
        fitting += time.perf_counter() - start
        ours.append(within(found.boxes, wanted, TOLERANCE))
        start = time.perf_counter()
        theirs.append(within(optimise(vertices, edges, wanted, roll[0], tilt[0], location[0]), wanted, TOLERANCE)[0])
        optimising += time.perf_counter() - start
        crystal = Crystal(
            0, 0.0, tuple(found.scale[0]), (roll[0], tilt[0], found.turn[0]), tuple(location[0]), 1.5, 0.8, Target(1, 1, 0, 1)
        )
        points = geometry.placed(vertices * found.scale[0][[0, 1, 1]], crystal)
        _, (w, h), _ = cv2.minAreaRect(geometry.project(CAMERA, points).astype(np.float32))
        rectangles.append(abs(w * h / found.boxes.area[0] - 1))
    met = np.array(ours)
    print(
        f"{cases} targets, {met.size} poses: {fitting / met.size * 1e3:.3f} ms per pose fitted, {met.mean():.4f} of them meet"
    )
    print(f"targets met by at least one of {generate.BATCH} poses: {met.any(1).mean():.4f}")
    print(f"plain optimiser: {optimising / cases * 1e3:.1f} ms per pose, {np.mean(theirs):.4f} meet")
    missed = int((np.array(theirs) & ~met[:, 0]).sum())
    print(f"ours, of the same poses: {met[:, 0].mean():.4f} meet; met by the optimiser only: {missed}")
    print(f"OpenCV's rectangle (float32) against ours: largest relative difference of the areas {max(rectangles):.1e}")


def build(count: int) -> None:
    shapes = [s.vertices for s in habits.collection()]
    for rule in ("published", "unbiased"):
        settings = Settings(rule=rule)
        start = time.perf_counter()
        scenes = [generate.scene(settings, 0, image, shapes) for image in tqdm(range(count), desc=rule)]
        seconds = time.perf_counter() - start
        crystals, unmet = sum(len(s.crystals) for s in scenes), sum(len(s.unmet) for s in scenes)
        print(
            f"{rule}: {count} scenes, {crystals / count:.1f} crystals each, {unmet} of {crystals + unmet} targets skipped: "
            f"{seconds:.1f} s, {seconds / crystals * 1e3:.2f} ms per crystal, so {seconds / crystals * 5000:.1f} s for 100 x 50"
        )


if __name__ == "__main__":
    begun = time.perf_counter()
    print(f"{len(habits.collection())} shapes: {time.perf_counter() - begun:.1f} s, once per process")
    compare(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
    build(100)
