"""``pcs-detect score``: how good the crystals found are, against labels."""

from __future__ import annotations

import argparse

from .arguments import complain, path, up_to_one


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "score",
        help="precision, recall, average precision and errors of sizes against labels",
        description="Compare what predict found with labelled photographs: average precision at IoU 0.5 (AP50) and over 0.50 "
        "to 0.95 (AP), precision and recall at the score with the best F1, and the median relative error of width and height "
        "of the crystals matched. Photographs are matched by their names.",
        epilog='LABELS: a folder of Labelme files, in which shapes labelled "ignore" are places that do not count and one '
        'labelled "region" is the part of the photograph that is labelled; a COCO or PCS JSON; or {photograph: {"crystals": '
        '[[4 corners] ...], "ignore": [...], "region": [x0, y0, x1, y1] or null}}. A box that is no hit counts neither way '
        "where its centre lies outside the region, or more than 30 %% of it on an ignored place.",
    )
    p.add_argument("crystals", type=path, metavar="CRYSTALS", help="folder that predict wrote, or a table of crystals")
    p.add_argument("labels", type=path, metavar="LABELS", help="labelled photographs")
    p.add_argument("--min-score", type=up_to_one, default=0.0, metavar="S", help="leave out crystals of a lower score")
    p.add_argument(
        "--out", type=path, metavar="FILE.csv", help="write the figures as a table as well, outside folders of results"
    )
    p.set_defaults(run=run)


def run(args: argparse.Namespace, argv: list[str]) -> None:
    from ..crystals.tables import write_table
    from ..evaluation.score import read_found, score_table, shown
    from ..labels.truth import read_truths
    from ..results import check_apart, check_outside_results

    if args.out is not None:
        folder = args.crystals if args.crystals.is_dir() else args.crystals.parent
        tables = (folder / name for name in ("crystals.csv", "crystals.parquet", "images.csv"))
        check_apart([args.out], [args.crystals, *tables, args.labels])
        check_outside_results(args.out)
    truths, left = read_truths(args.labels)
    crystals, truths, missing = read_found(args.crystals, truths, args.min_score)
    table = score_table(crystals, truths)
    print(shown(table))
    if args.out is not None:
        write_table(table, args.out)
    complain([*left, *missing])
