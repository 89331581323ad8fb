"""``pcs-detect sizes``: statistics, tests and figures of crystal sizes over time."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from .arguments import path, up_to_one


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "sizes",
        help="statistics, tests and figures of crystal sizes over time",
        description="From a table of crystals and one that says which image belongs to which replicate, time, dilution and "
        "variant: medians and quartiles, Kolmogorov-Smirnov tests, growth rates, total area against concentration, "
        "distribution functions. Crystals of all images of a group are pooled; an image without crystals counts as an image.",
        epilog="A crystal that the border of an image cuts has a wrong size and is left out of sizes, as is usual. Large "
        "crystals are cut more often: of those whose frame measures a by b px, the part (1 - a / W) (1 - b / H) stays in an "
        "image of W by H px, so that sizes come out too small where crystals are not small beside the image. Total areas count "
        "every crystal.",
    )
    p.add_argument(
        "crystals",
        nargs="+",
        type=path,
        metavar="CRYSTALS",
        help="folders that predict wrote, or tables of crystals (CSV, Excel, Parquet); several are joined, their scales may "
        "differ; where they have images of the same name, all are called FOLDER/NAME",
    )
    p.add_argument(
        "--groups",
        type=path,
        metavar="TABLE",
        help="CSV or Excel with a column image and any of replicate, time (hours, or as the header says: time (min)), "
        "dilution, variant, concentration; predict writes one to fill in, groups_template.csv (default: all images are one "
        "group)",
    )
    p.add_argument("--out", type=path, default=Path("crystal_sizes"), help="folder to write (default: %(default)s)")
    p.add_argument("--unit", choices=("auto", "um", "px"), default="auto", help="of sizes; auto: um where every crystal has it")
    p.add_argument(
        "--border",
        choices=("drop", "keep"),
        default="drop",
        help="leave crystals that touch the image's border out of sizes, or keep them (default: %(default)s)",
    )
    p.add_argument("--min-score", type=up_to_one, default=0.0, metavar="S", help="leave out crystals of a lower score")
    p.add_argument(
        "--compare",
        nargs="+",
        metavar="COLUMN",
        help="columns whose values are tested against each other, all else equal (default: dilution, replicate, variant)",
    )
    p.add_argument(
        "--series",
        nargs="+",
        metavar="COLUMN",
        help="a distribution function for each value of these columns (default: variant, or else dilution, or else replicate)",
    )
    p.add_argument(
        "--at-time", type=float, metavar="HOURS", help="of distribution functions (default: the last that all series have)"
    )
    p.add_argument(
        "--regression-by",
        nargs="+",
        metavar="COLUMN",
        help="a line of area against concentration for each value of these columns (default: all but time)",
    )
    p.add_argument("--growth-hours", nargs=2, type=float, metavar=("FROM", "TO"), help="times for growth rates (default: all)")
    p.add_argument(
        "--alpha",
        type=up_to_one,
        default=0.05,
        help="level of tests; intervals have confidence 1 - alpha (default: %(default)s)",
    )
    p.add_argument("--concentration-unit", default="", metavar="TEXT", help="for the figure, such as g/L")
    p.add_argument("--excel", action="store_true", help="write sizes.xlsx as well: crystals, images, sizes, tests")
    p.set_defaults(run=run)


def run(args: argparse.Namespace, argv: list[str]) -> None:
    from ..sizes import Options, analyse, summary, write_sizes
    from ..sizes.groups import concentration_unit, raw_groups
    from ..sizes.output import check_sizes_folder, read_inputs

    given = read_inputs(args.crystals)
    inputs = [*given.files, *([] if args.groups is None else [args.groups])]
    check_sizes_folder(args.out, inputs)
    groups = None if args.groups is None else raw_groups(args.groups)
    if groups is not None and given.alias:
        groups = groups.rename(columns={c: "image" for c in groups.columns if str(c).strip().lower() == "image"})
        if "image" in groups.columns:
            groups["image"] = groups["image"].map(lambda name: given.alias.get(str(name).strip(), name))
    options = Options(
        unit=args.unit,
        border=args.border,
        min_score=args.min_score,
        compare=_tuple(args.compare),
        series=_tuple(args.series),
        at_time=args.at_time,
        regression_by=_tuple(args.regression_by),
        growth_hours=_tuple(args.growth_hours),
        alpha=args.alpha,
        concentration_unit=args.concentration_unit or ("" if groups is None else concentration_unit(groups)),
    )
    analysis = analyse(given.crystals, groups, given.images, options, given.unread)
    analysis.notes[:0] = given.notes
    command = shlex.join(["pcs-detect", *argv])
    missing = write_sizes(
        analysis, args.out, command, inputs=inputs, excel=args.excel, crystals=given.crystals, images=given.table
    )
    print(summary(analysis))
    for reason in missing:
        print(f"note: {reason}")
    print(args.out)


def _tuple(values: list | None) -> tuple | None:
    return None if values is None else tuple(dict.fromkeys(values))
