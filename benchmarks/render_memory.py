"""Does a worker grow? ``python benchmarks/render_memory.py [images] [--blender PATH]``: resident memory over small pictures."""

from __future__ import annotations

import argparse

import numpy as np

from pcs_render import generate
from pcs_render.blender import Renderer, find_blender
from pcs_render.profile import PROFILES
from pcs_render.settings import Settings

BOX = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])


def resident(pid: int) -> float:
    """MiB."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=int, nargs="?", default=200)
    parser.add_argument("--blender")
    args = parser.parse_args()
    settings = Settings(width=64, height=64, area=(16.0, 400.0), long_side=60.0, max_crystals=5)
    blender = find_blender(args.blender)
    sizes = []
    with Renderer(PROFILES["preview"], blender, recycle=args.images + 1) as renderer:
        for image in range(args.images):
            renderer.render(generate.scene(settings, 0, image, [BOX]))
            assert renderer.worker_pid is not None
            sizes.append(resident(renderer.worker_pid))
            if image in (0, 9, 49, 99) or image == args.images - 1:
                print(f"after {image + 1:4d} pictures: {sizes[-1]:.0f} MiB", flush=True)
    late = sizes[len(sizes) // 4 :]
    slope = np.polyfit(np.arange(len(late)), late, 1)[0] * 1024
    print(
        f"Blender {blender.version}: largest {max(sizes):.0f} MiB; growth after the first quarter {slope:.1f} KiB per picture"
    )


if __name__ == "__main__":
    main()
