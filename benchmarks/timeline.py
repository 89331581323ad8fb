"""A picture of what ran when, from a trace that torch.profiler exported: a row per thread of the host and per stream."""

from __future__ import annotations

import bisect
import gzip
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pcs_augment.files import written

COLOURS = {"train": "#4c78a8", "augment": "#e45756", "draw": "#f2a93b", "load": "#72b7b2"}
WORDS = {
    "train": "training step",
    "augment": "augmentation",
    "draw": "drawing random numbers",
    "load": "waiting for the workers",
}
ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")

Bar = tuple[float, float]  # start and length, us


def draw_timeline(trace: Path, picture: Path, title: str) -> str:
    """Write the PNG; returns a line on how much of the augmentation overlaps with training kernels."""
    with gzip.open(trace, "rt") as file:
        events = [e for e in json.load(file)["traceEvents"] if e.get("ph") == "X"]
    rows = _rows(events)
    start = min(b[0] for row in rows.values() for bars in row.values() for b in bars)
    end = max(sum(b) for row in rows.values() for bars in row.values() for b in bars)
    _draw(rows, start, end, picture, title)
    on_device = [row for name, row in rows.items() if name.startswith("stream")]
    augment, train = (_merged(b for row in on_device for b in row.get(kind, ())) for kind in ("augment", "train"))
    if not on_device:
        return f"{(end - start) / 1e3:.1f} ms; nothing overlaps where there is no stream"
    busy, shared = sum(n for _, n in augment), _shared(augment, train)
    return (
        f"{(end - start) / 1e3:.1f} ms; device busy with training {sum(n for _, n in train) / 1e3:.2f} ms, with augmentation "
        f"{busy / 1e3:.2f} ms, of which {shared / max(busy, 1e-9):.0%} while training kernels run"
    )


def _rows(events: list[dict[str, Any]]) -> dict[str, dict[str, list[Bar]]]:
    """Bars by row and kind. The host shows the named ranges, a stream its kernels, by what launched them.

    What a thread with ranges launches outside of training steps is the loader's; the backward pass has threads of its own.
    """
    ranges: dict[Any, list[tuple[float, float, str]]] = defaultdict(list)
    rows: dict[str, dict[str, list[Bar]]] = {}
    streams: dict[int, dict[str, list[Bar]]] = {}
    for e in events:
        if e.get("cat") == "user_annotation" and e["name"] in COLOURS:
            ranges[e["tid"]].append((e["ts"], e["ts"] + e["dur"], e["name"]))
    for number, (tid, mine) in enumerate(sorted(ranges.items(), key=lambda item: -len(item[1]))):
        mine.sort()
        row = rows.setdefault("host" if number == 0 else f"host, thread {tid}", defaultdict(list))
        for a, b, name in mine:
            row[name].append((a, b - a))
    launched = {
        e["args"]["correlation"]: _launcher(ranges.get(e["tid"], []), e["ts"])
        for e in events
        if e.get("cat") in ("cuda_runtime", "cuda_driver") and "correlation" in e.get("args", {})
    }
    for e in events:
        if e.get("cat") in ON_DEVICE:
            kind = launched.get(e["args"].get("correlation"), "train")
            streams.setdefault(int(e["args"]["stream"]), defaultdict(list))[kind].append((e["ts"], e["dur"]))
    return rows | {f"stream {number}": row for number, row in sorted(streams.items())}


def _launcher(ranges: list[tuple[float, float, str]], when: float) -> str:
    if not ranges:
        return "train"
    at = bisect.bisect_right(ranges, (when, float("inf"), "")) - 1
    return "train" if at >= 0 and ranges[at][2] == "train" and when <= ranges[at][1] else "augment"


def _merged(bars: Iterable[Bar]) -> list[Bar]:
    """Joined where they overlap."""
    out: list[Bar] = []
    for a, n in sorted(bars):
        if out and a <= sum(out[-1]):
            out[-1] = (out[-1][0], max(sum(out[-1]), a + n) - out[-1][0])
        else:
            out.append((a, n))
    return out


def _shared(first: list[Bar], second: list[Bar]) -> float:
    """Length of the intersection of two merged lists."""
    total, j = 0.0, 0
    for a, n in first:
        while j < len(second) and sum(second[j]) <= a:
            j += 1
        k = j
        while k < len(second) and second[k][0] < a + n:
            total += min(a + n, sum(second[k])) - max(a, second[k][0])
            k += 1
    return total


def _draw(rows: dict[str, dict[str, list[Bar]]], start: float, end: float, picture: Path, title: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    figure, axes = plt.subplots(figsize=(14, 1.6 + 0.7 * len(rows)), layout="constrained")
    for y, row in enumerate(rows.values()):
        for kind, bars in row.items():
            shown = [((a - start) / 1e3, n / 1e3) for a, n in bars]
            axes.broken_barh(shown, (y - 0.35, 0.7), facecolors=COLOURS[kind], edgecolors="none")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xlim(0, (end - start) / 1e3)
    axes.set_xlabel("ms")
    axes.set_title(title, fontsize=9)
    used = {kind for row in rows.values() for kind in row}
    patches = [Patch(color=COLOURS[k], label=WORDS[k]) for k in COLOURS if k in used]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)
    with written(picture) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)
