"""The demonstration: ``python -m pcs_augment.demo --out demo.png`` augments the bundled sample, times it and draws it."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from . import __version__, gallery
from .cli import add_device, chosen_device
from .console import Progress, guarded, natural, path, positive
from .data import PcsDataset, collate
from .loader import AugmentedLoader
from .pipeline import default_pipeline
from .sample import sample_path

# of many seeds, one whose first six images happen to show all kinds of noise in the paper's Fig. 2
SEED = 62974


def run(out: Path, epochs: int, batch_size: int, workers: int, seed: int, device: torch.device) -> float:
    """Augment the sample for some epochs, print the images per second (returned too), write the picture to ``out``."""
    gallery.check_output(out)
    data = PcsDataset(sample_path())
    batches: DataLoader = DataLoader(
        data,
        batch_size,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )
    loader = AugmentedLoader(batches, default_pipeline(seed), device)
    with Progress("warming up; kernels are compiled once") as progress:
        progress(0, len(data))
        for warm, _ in enumerate(loader, 1):  # starts the workers, loads libraries
            progress(min(warm * batch_size, len(data)), len(data))
    _wait_for(device)
    images = objects = 0
    with Progress("augmenting") as progress:
        progress(0, epochs * len(data))
        start = time.perf_counter()
        for epoch in range(epochs):
            loader.set_epoch(epoch)
            for pixels, targets in loader:
                images += len(pixels)
                objects += sum(len(t["boxes"]) for t in targets or ())
                progress(images, epochs * len(data))
        _wait_for(device)
        rate = images / (time.perf_counter() - start)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"{rate:.1f} images per second on {name}, batches of {batch_size}, {workers} loader workers, torch {torch.__version__}"
    )
    print(f"{images} images of 384 x 384 px with {objects / images:.0f} objects each, in {epochs} epochs after a warm-up epoch")
    gallery.preview([sample_path()], out, seed=seed, count=6, columns=6, device=device)
    print(f"base images above, augmented below: {out}")
    return rate


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pcs_augment.demo", description=__doc__)
    parser.add_argument("--version", action="version", version=f"pcs-augment {__version__}")
    parser.add_argument("--out", type=path, default=Path("demo.png"), help="picture to write (default: %(default)s)")
    parser.add_argument("--epochs", type=positive, default=20, help="passes over the twelve images (default: %(default)s)")
    parser.add_argument("--batch-size", type=positive, default=6, help="images per batch (default: %(default)s)")
    parser.add_argument("--workers", type=natural, default=1, help="loader processes (default: %(default)s)")
    parser.add_argument("--seed", type=natural, default=SEED, help="seed of the noise (default: %(default)s)")
    add_device(parser)

    def work() -> None:
        args = parser.parse_args(argv)
        run(args.out, args.epochs, args.batch_size, args.workers, args.seed, chosen_device(args.device))

    return guarded(parser.prog, work)


if __name__ == "__main__":
    raise SystemExit(main())
