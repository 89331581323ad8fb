"""Turn pytest-benchmark's JSON into tables (Markdown) and pictures.

python benchmarks/summary.py results.json --out out/bench
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from pcs_augment.files import made_folder, written

GROUPS = {
    "pipeline": "Pipeline",
    "loader": "Data loader",
    "steps": "Steps of the default pipeline",
    "functions": "Noise functions",
    "scaling": "Scaling",
    "peers": "Beside other libraries",
}
BLUE, GREY, ORANGE = "#1f4e8c", "#9aa5b1", "#c8641e"


class Row(NamedTuple):
    """A benchmark: median and interquartile range in ms per item (image or texture)."""

    group: str
    name: str
    ms: float
    spread: float
    rounds: int
    about: dict[str, Any]


def rows(document: dict[str, Any]) -> list[Row]:
    out = []
    for b in document["benchmarks"]:
        about, stats = b["extra_info"], b["stats"]
        scale = 1e3 / (about["items"] * about["calls"])
        out.append(Row(b["group"], about["name"], stats["median"] * scale, stats["iqr"] * scale, stats["rounds"], about))
    return out


def described(document: dict[str, Any]) -> str:
    """Machine, threads, date and versions."""
    machine = document["machine_info"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['line']}; {machine['threads']} threads where nothing else is said; {document['datetime'][:10]}; "
        f"medians of rounds, spread is the interquartile range.\n\n{versions}"
    )


def tables(document: dict[str, Any]) -> str:
    measured, parts = rows(document), [described(document)]
    for group, title in GROUPS.items():
        mine = [r for r in measured if r.group == group]
        if mine:
            parts += [f"## {title}", peers_table(mine) if group == "peers" else plain_table(mine)]
    return "\n\n".join(parts) + "\n"


def plain_table(measured: list[Row]) -> str:
    lines = ["| benchmark | per | median, ms | spread, ms | per s | batch | rounds | threads |", "|---|---|" + "--:|" * 6]
    for r in measured:
        batch, threads = r.about.get("batch", r.about["items"]), r.about["threads"]
        lines.append(
            f"| {r.name} | {r.about['unit']} | {figures(r.ms)} | {figures(r.spread)} | {1e3 / r.ms:,.0f} "
            f"| {batch} | {r.rounds} | {threads} |"
        )
    return "\n".join(lines)


def peers_table(measured: list[Row]) -> str:
    """The ratio is the peer's time over ours: below 1 the peer is faster."""
    lines = [
        "| work | library | data | per | median, ms | spread, ms | peer / ours | checked before |",
        "|---|---|---|---|--:|--:|--:|---|",
    ]
    for work, mine in contests(measured):
        ours = next((r for r in mine if r.about["ours"]), None)
        for i, r in enumerate(mine):
            ratio = "" if ours is None or r is ours else f"{r.ms / ours.ms:.2f}"
            if ratio and r.ms < ours.ms and not r.about["ours"]:
                ratio += " (the peer is faster)"
            lines.append(
                f"| {work if i == 0 else ''} | {r.about['library']} | {r.about['data']} | {r.about['unit']} "
                f"| {figures(r.ms)} | {figures(r.spread)} | {ratio} | {r.about['found']} |"
            )
    threads = ", ".join(sorted({str(r.about["threads"]) for r in measured}))
    return f"Threads on each side: {threads}.\n\n" + "\n".join(lines)


def contests(measured: list[Row]) -> Iterable[tuple[str, list[Row]]]:
    by_work: dict[str, list[Row]] = {}
    for r in measured:
        by_work.setdefault(r.about["work"], []).append(r)
    return by_work.items()


def figures(ms: float) -> str:
    """Three figures, as far as four decimals go."""
    if 0 < ms < 0.00005:
        return "< 0.0001"
    return f"{ms:.4f}" if ms < 0.1 else f"{ms:.3f}" if ms < 1 else f"{ms:.2f}" if ms < 10 else f"{ms:,.1f}"


def save(figure: Figure, path: Path) -> None:
    with written(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)


def barred(axes: plt.Axes, names: list[str], measured: list[Row], colours: list[str], rates: bool) -> None:
    """Bars on a logarithmic axis with their times and interquartile ranges; the first row on top."""
    times = [r.ms for r in measured]
    place = range(len(times))
    axes.barh(place, times, color=colours, height=0.7, log=True)
    axes.errorbar(times, place, xerr=[r.spread / 2 for r in measured], fmt="none", ecolor="black", elinewidth=0.8)
    axes.set_yticks(place, names, fontsize=9)
    axes.set_ylim(len(times) - 0.4, -0.6)
    low, high = max(min(times), max(times) / 1e3), max(times)
    room = 0.35 if rates else 0.2  # of the width, for the words behind the longest bar
    axes.set_xlim(low / 3, high * (3 * high / low) ** (room / (1 - room)) * 1.3)
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(axis="x", labelsize=8)
    axes.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    for i, r in enumerate(measured):
        words = f"{figures(r.ms)} ms" + (f", {1e3 / r.ms:,.0f} images/s" if rates else "")
        axes.text(max((r.ms + r.spread / 2) * 1.15, low / 2.8), i, words, va="center", fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def bars(measured: list[Row], machine: str, path: Path, rates: bool) -> None:
    """One picture with a panel for each group."""
    groups = [g for g in GROUPS if any(r.group == g for r in measured)]
    heights = [sum(r.group == g for r in measured) + 2 for g in groups]
    figure, panels = plt.subplots(
        len(groups), 1, figsize=(10, 0.27 * sum(heights) + 1), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for axes, group in zip(panels[:, 0], groups):
        mine = [r for r in measured if r.group == group]
        names = [r.name if r.about["unit"] == "image" else f"{r.name} (per {r.about['unit']})" for r in mine]
        barred(axes, names, mine, [BLUE] * len(mine), rates)
        axes.set_title(GROUPS[group], loc="left", fontsize=11)
    panels[-1, 0].set_xlabel("ms per image, or what the name says; lower is better")
    figure.suptitle(machine, fontsize=10)
    save(figure, path)


def peers(measured: list[Row], machine: str, path: Path) -> None:
    """A panel for each kind of work, in two columns; this library in blue, faster peers in orange."""
    games = list(contests(measured))
    heights = [len(mine) + 2.5 for _, mine in games]
    split = min(range(len(games) + 1), key=lambda i: abs(sum(heights[:i]) - sum(heights[i:])))
    tallest = max(sum(heights[:split]), sum(heights[split:]))
    figure = plt.figure(figsize=(16, 0.26 * tallest + 0.6), layout="constrained")
    for part, which in zip(figure.subfigures(1, 2), (slice(None, split), slice(split, None))):
        rest = max(tallest - sum(heights[which]), 0.1)
        panels = part.subplots(len(heights[which]) + 1, 1, height_ratios=[*heights[which], rest], squeeze=False)[:, 0]
        panels[-1].set_visible(False)
        for axes, (work, mine) in zip(panels, games[which]):
            fastest = min((r.ms for r in mine if r.about["ours"]), default=0)
            colours = [BLUE if r.about["ours"] else ORANGE if r.ms < fastest else GREY for r in mine]
            barred(axes, [r.about["library"] for r in mine], mine, colours, rates=False)
            axes.set_title(f"{work}, ms per {mine[0].about['unit']}", loc="left", fontsize=10)
    figure.suptitle(f"pcs_augment blue, faster peers orange, slower ones grey\n{machine}", fontsize=10)
    save(figure, path)


def scaling(measured: list[Row], machine: str, path: Path) -> None:
    """Time per image over what is varied, a panel for each, both axes logarithmic (objects: linear, since none is a case)."""
    axes_names = list(dict.fromkeys(r.about["axis"] for r in measured))
    columns = 2
    figure, panels = plt.subplots(
        -(-len(axes_names) // columns), columns, figsize=(11, 3.8 * -(-len(axes_names) // columns)), squeeze=False
    )
    for axes, name in zip(panels.flat, axes_names):
        mine = [r for r in measured if r.about["axis"] == name]
        ticks = sorted({r.about["x"] for r in mine})
        for line, colour in zip(dict.fromkeys(r.about["line"] for r in mine), (BLUE, ORANGE)):
            points = [r for r in mine if r.about["line"] == line]
            x, y = [r.about["x"] for r in points], [r.ms for r in points]
            axes.errorbar(x, y, yerr=[r.spread / 2 for r in points], marker="o", color=colour, capsize=3, label=line)
        if ticks[0] > 0:
            axes.set_xscale("log")
            axes.set_xticks(ticks, [str(t) for t in ticks])
            axes.xaxis.minorticks_off()
        else:
            axes.set_xticks(ticks)
        axes.set_yscale("log")
        axes.set_ylim(min(r.ms for r in mine) / 2, max(r.ms for r in mine) * 2)
        axes.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
        axes.yaxis.set_minor_formatter(lambda v, _: f"{v:g}" if f"{v:.0e}"[0] in "25" else "")
        axes.set_xlabel(name)
        axes.set_ylabel("ms per image")
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=9)
    for axes in panels.flat[len(axes_names) :]:
        axes.set_visible(False)
    figure.suptitle(machine, fontsize=10)
    figure.tight_layout()
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Tables and pictures of what the benchmarks measured.")
    parser.add_argument("results", type=Path, help="JSON that pytest --benchmark-json wrote")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder to write (default: %(default)s)")
    args = parser.parse_args()
    document = json.loads(args.results.read_text())
    folder, measured, machine = made_folder(args.out), rows(document), document["machine_info"]["line"]
    text = tables(document)
    with written(folder / "tables.md") as temporary:
        temporary.write_text(text)
    for name, groups in (("pipeline", ("pipeline", "loader")), ("steps", ("steps", "functions"))):
        mine = [r for r in measured if r.group in groups]
        if mine:
            bars(mine, machine, folder / f"{name}.png", rates=name == "pipeline")
    for name, draw in (("peers", peers), ("scaling", scaling)):
        mine = [r for r in measured if r.group == name]
        if mine:
            draw(mine, machine, folder / f"{name}.png")
    print(text)
    print(f"written to {folder}")


if __name__ == "__main__":
    main()
