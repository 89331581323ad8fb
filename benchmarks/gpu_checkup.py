"""What a machine with a GPU says about the library: ``python benchmarks/gpu_checkup.py 1`` (then 2, then 3).

Each of the three calls stands alone and takes seven minutes at most. The checkout must be on PYTHONPATH; beside torch with CUDA
and Triton it needs NumPy, Pillow or OpenCV, pytest and hypothesis; peers are compared where they are installed.

    1  versions, rates of the device, the tests that need a GPU, milliseconds of each step
    2  no waiting, many values, equal bits beside other work, the loader, compute-sanitizer, counters of kernels, CUDA graphs
    3  tables beside other libraries, the pipeline, a training loop with its timeline

Every stage is a process of its own with its own time limit and leaves ``STAGE.json`` in the folder as it goes, so that what it
found before its limit is there; a short table, also in ``call_N.md``, comes last. Kernels may not fall back to torch
meanwhile (PCS_AUGMENT_FALLBACK=forbidden). ``--device cpu`` rehearses everything in small without a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
CALL_S = 410.0  # of a call's stages together, which leaves time to start and to write
REHEARSED = 10  # times as long a rehearsal may take, on a machine that has other work
TAIL = 6000  # characters kept of what a stage printed


class Stage(NamedTuple):
    """A function ``name`` of module ``home``, called with (device, note)."""

    call: int
    name: str
    limit: float  # s
    home: str


STAGES = [
    Stage(1, "versions", 40, "gpu_speed"),
    Stage(1, "rates", 60, "gpu_speed"),
    Stage(1, "tests", 230, "gpu_checks"),
    Stage(1, "steps", 110, "gpu_speed"),
    Stage(2, "no_waiting", 50, "gpu_checks"),
    Stage(2, "many_values", 60, "gpu_checks"),
    Stage(2, "equal_bits", 50, "gpu_checks"),
    Stage(2, "loader", 70, "gpu_checks"),
    Stage(2, "sanitizer", 90, "gpu_tools"),
    Stage(2, "counters", 60, "gpu_tools"),
    Stage(2, "graph", 60, "gpu_tools"),
    Stage(3, "peers", 190, "gpu_speed"),
    Stage(3, "pipeline", 70, "gpu_speed"),
    Stage(3, "training", 140, "gpu_speed"),
]


class Note:
    """What a stage found so far: ``note(key=value)`` writes all of it at once. ``headline`` goes into the table."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.path = folder, folder / f"{name}.json"
        self.found: dict[str, Any] = {}

    def __call__(self, **found: Any) -> None:
        self.found |= found
        save(self.path, self.found)


def save(path: Path, values: Any) -> None:
    """Whole or not at all."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(values, indent=1, default=str) + "\n")
    temporary.replace(path)


def run(stage: Stage, device: str, folder: Path, seconds: float) -> dict[str, Any]:
    """Run a stage in a process group of its own; what it found, with ``status``, ``seconds`` and the end of its output."""
    path = folder / f"{stage.name}.json"
    path.unlink(missing_ok=True)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = os.environ | {"PCS_AUGMENT_FALLBACK": "forbidden", "PYTHONPATH": os.pathsep.join(paths)}
    command = [
        sys.executable,
        __file__,
        str(stage.call),
        "--stage",
        f"{stage.home}.{stage.name}",
        "--device",
        device,
        "--out",
        str(folder),
    ]
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, text=True
        )
        try:
            code = process.wait(seconds)
            status = "ok" if code == 0 else f"failed ({code})"
        except subprocess.TimeoutExpired:
            status = f"stopped after {seconds:.0f} s"
        finally:
            end(process)
        output.seek(0)
        printed = output.read()
    found = json.loads(path.read_text()) if path.exists() else {}
    found |= {"stage": stage.name, "status": status, "seconds": round(time.monotonic() - began, 1), "output": printed[-TAIL:]}
    save(path, found)
    return found


def end(process: subprocess.Popen) -> None:
    """The process and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def table(call: int, device: str, found: list[dict[str, Any]]) -> str:
    lines = [f"### GPU check-up, call {call}, {device}", "", "| stage | status | s | found |", "|---|---|--:|---|"]
    for f in found:
        last = (f["output"].strip().splitlines() or [""])[-1]
        said = f.get("headline") or (last if f["status"] != "ok" else "")
        lines.append(f"| {f['stage']} | {f['status']} | {f['seconds']} | {str(said).replace('|', '/')[:300]} |")
    tables = [f["table"] for f in found if "table" in f]
    return "\n\n".join(["\n".join(lines), *tables]) + "\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("call", type=int, choices=(1, 2, 3))
    parser.add_argument("--device", default="cuda", help="cuda (default), or cpu for a rehearsal")
    parser.add_argument("--out", type=Path, default=Path("out/gpu_checkup"), help="folder to write (default: %(default)s)")
    parser.add_argument("--only", action="append", metavar="STAGE", help="these stages of the call alone")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    folder = args.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if args.stage:
        home, _, name = args.stage.rpartition(".")
        work: Callable[[str, Note], None] = getattr(import_module(home), name)
        work(args.device, Note(folder, name))
        return 0
    names = [s.name for s in STAGES if s.call == args.call]
    unknown = sorted(set(args.only or ()) - set(names))
    if unknown:
        parser.error(f"--only {', '.join(unknown)}: call {args.call} has {', '.join(names)}")
    mine = [s for s in STAGES if s.call == args.call and s.name in (args.only or names)]
    longer = REHEARSED if args.device == "cpu" else 1
    until = time.monotonic() + CALL_S * longer
    found = []
    for stage in mine:
        left = until - time.monotonic()
        found.append(run(stage, args.device, folder, max(1.0, min(stage.limit * longer, left))))
        print(f"{stage.name}: {found[-1]['status']}, {found[-1]['seconds']} s", flush=True)
    text = table(args.call, args.device, found)
    (folder / f"call_{args.call}.md").write_text(text)
    print(f"\n{text}", flush=True)
    return int(any(f["status"] != "ok" for f in found))


if __name__ == "__main__":
    raise SystemExit(main())
