"""A validation set that is augmented once and for all: ``python examples/freeze_validation.py [DATA.json] [FOLDER]``.

The same as ``pcs-augment freeze DATA.json --out FOLDER --seed 0``, from Python.
"""

import sys
from pathlib import Path

import pcs_augment as pa
from pcs_augment.freeze import freeze
from pcs_augment.sample import sample_path


def main(data: str | Path | None = None, out: str | Path = "frozen") -> Path:
    """Freeze the data set; returns the JSON with the labels of what can still be seen."""
    source = Path(data) if data is not None else sample_path()
    freeze(source, Path(out), seed=0)
    labels = Path(out) / source.name
    frozen = pa.PcsDataset(labels)
    print(f"{labels}: {len(frozen)} augmented images; the same seed makes the same files again")
    return labels


if __name__ == "__main__":
    main(*sys.argv[1:3])
