"""``pcs-detect report``: one HTML page of photographs, sizes and tests."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import above_zero, path


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "report",
        help="one HTML page of photographs, sizes and tests",
        description="Write one HTML page, that needs no network and no other file, of what predict found: photographs to zoom "
        "into, with their crystals; distributions of sizes; tables to save as CSV; settings and versions. With the folder of "
        "sizes also time courses, areas and tests.",
        epilog="Large results are bounded, and the page says by what: pictures by --megabytes (made smaller first, then left "
        "out), crystals.csv by 30 million characters, tables of sizes, as shown, by 200 rows, paper by 12 photographs.",
    )
    p.add_argument("predicted", type=path, metavar="PREDICT_FOLDER", help="folder that predict wrote")
    p.add_argument("--sizes", type=path, metavar="SIZES_FOLDER", help="folder that sizes wrote of the same crystals")
    p.add_argument(
        "--out", type=path, default=Path("report.html"), help="file to write, ending in .html (default: %(default)s)"
    )
    p.add_argument(
        "--photographs", type=path, metavar="FOLDER", help="where the photographs lie now (default: where predict read them)"
    )
    p.add_argument("--title", default="", help="of the page")
    p.add_argument(
        "--megabytes", type=above_zero, default=25.0, metavar="MB", help="of all pictures, at most (default: %(default)g)"
    )
    p.add_argument("--progress", action="store_true", default=None, help="show a bar where stderr is no terminal too")
    p.set_defaults(run=run)


def run(args: argparse.Namespace, argv: list[str]) -> None:
    from ..report import write_report

    notes = write_report(
        args.predicted,
        args.out,
        args.sizes,
        photographs=args.photographs,
        title=args.title,
        megabytes=args.megabytes,
        progress=args.progress,
    )
    for note in notes:
        print(f"note: {note}")
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")
