"""Turn pytest-benchmark's JSON into a Markdown table: ``python benchmarks/summary.py results.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def table(document: dict) -> str:
    cpu = document["machine_info"].get("cpu", {})
    head = f"{cpu.get('brand_raw', document['machine_info']['processor'])}, Python {document['machine_info']['python_version']}"
    lines = [head, "", "| benchmark | median, ms per image | interquartile range | rounds |", "|---|---|---|---|"]
    for b in document["benchmarks"]:
        images, stats = b["extra_info"]["images"], b["stats"]
        lines.append(
            f"| {b['name'].removeprefix('test_')} | {stats['median'] / images * 1e3:.3f} "
            f"| {stats['iqr'] / images * 1e3:.3f} | {stats['rounds']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text())))
