"""One command, several processes: torchrun's launcher, started from within."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence

from ...errors import InputError

PROGRAM = "pcs_detect.cli"


def check_processes(count: int, device: str) -> None:
    """Raises InputError where ``count`` processes cannot have a GPU each."""
    import torch  # here: the command line asks this module for its rank before anything large is loaded

    if count > 1 and device == "cuda" and torch.cuda.device_count() < count:
        raise InputError(
            f"--gpus {count}: torch finds {torch.cuda.device_count()} here; take fewer, or train on the CPU with that many "
            "processes (--device cpu)"
        )


def run_processes(count: int, arguments: Sequence[str]) -> None:
    """Run ``pcs-detect ARGUMENTS`` in ``count`` processes on this machine and wait. Ends this process if one fails."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    # libraries would start as many threads as there are cores, in every process
    os.environ.setdefault("OMP_NUM_THREADS", str(max(len(os.sched_getaffinity(0)) // count, 1)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the processes say themselves what went wrong
    try:
        run(parse_args(["--standalone", f"--nproc-per-node={count}", "-m", PROGRAM, *arguments]))
    except ChildFailedError as e:
        codes = {failure.exitcode for failure in e.failures.values()}
        if not codes <= {1, 130, -signal.SIGTERM}:
            print(f"a process ended with {', '.join(map(str, sorted(codes)))}", file=sys.stderr)
        raise SystemExit(1) from e
    except SignalException as e:
        raise KeyboardInterrupt from e
