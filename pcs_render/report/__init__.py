"""What a data set shows: figure 1 d-f of the paper against the model, counts, sheets of images; PNG files and one HTML page.

    report.write(report.load("train"), "report")

Figures need matplotlib and Pillow, which are imported when ``write`` is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from pcs_augment.console import OnProgress
from pcs_augment.files import made_folder, written

from .analysis import Analysis
from .sample import Picture, Sample, from_data_set, from_json, from_scenes, load

__all__ = ["Analysis", "Picture", "Sample", "from_data_set", "from_json", "from_scenes", "load", "write"]

PAGE = "report.html"


def write(sample: Sample, out: str | os.PathLike[str], *, pictures: int = 24, progress: OnProgress | None = None) -> Path:
    """Write a PNG of each figure and the page that has them all.

    Files are written whole, the page last, over those of an earlier report.

    Args:
        sample: what ``load`` or one of the others read.
        out: folder; made where it is not there.
        pictures: images shown with and without labels.
        progress: called with (done, all) figures.

    Returns:
        The path of the page.

    Raises:
        DataError: a picture cannot be read.
        OutputError: something cannot be written.

    Examples:
        >>> report.write(report.load("data"), "report", pictures=2).name
        'report.html'
    """
    from .contents import contents, figures

    folder = made_folder(out)
    analysis = Analysis(sample)
    made: dict[str, bytes] = {}
    todo: dict[str, Callable[[], bytes]] = figures(analysis, pictures)
    for done, (name, draw) in enumerate(todo.items()):
        if progress is not None:
            progress(done, len(todo))
        made[name] = draw()
        with written(folder / f"{name}.png") as temporary:
            temporary.write_bytes(made[name])
    with written(folder / PAGE) as temporary:
        temporary.write_text(contents(analysis, made), encoding="utf-8")
    if progress is not None:
        progress(len(todo), len(todo))
    return folder / PAGE
