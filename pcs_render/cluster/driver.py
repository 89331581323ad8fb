"""The same data set on a Ray cluster: nodes render into a folder that all of them see.

This process, the driver, holds the folder's lock. On the nodes, one actor per ``threads`` CPU cores, or per GPU, keeps a
renderer warm and is handed a few images at a time. The node itself puts each image into the folder, under a name of its own,
whole or not at all, before it begins the next: so workers and nodes may die and come at any time, work that is handed out again
skips what is there, and what is made twice replaces itself. When the driver dies, the same call takes up where it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pcs_augment.console import OnProgress
from pcs_augment.extras import missing
from pcs_augment.files import written

from .. import __version__
from ..blender import DEVICES, TRIES, Renderer, time_limit
from ..errors import InputError
from ..production import Job
from ..shards import Manifest, Writer
from . import on_node
from .cost import estimate
from .dispatch import ClusterError, Needs, Run, name

CONNECT = 15.0  # seconds until an address counts as dead: Ray itself would keep trying for minutes
STORE = 100 << 20  # bytes; what is sent around is small

Say = Callable[[str], None]
Opened = Callable[[], tuple[Renderer, str]]  # called on a node: a renderer, and the version of its Blender


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray's module, connected to a cluster; a connection that this process has already is left as it is.

    address: HOST:PORT of the head of a cluster that this machine belongs to, "auto" to look for it, or "local" for one of this
    machine alone, which ends with the block.
    Raises InputError within about ``CONNECT`` seconds when there is no such cluster, or when Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == "local":
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # without it Ray listens on more than the loopback
    try:
        import ray
    except ImportError as e:
        raise InputError(missing("ray", "rendering on a cluster")) from e
    ray.cloudpickle.register_pickle_by_value(on_node)
    if ray.is_initialized():
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        quiet |= {"include_dashboard": False, "object_store_memory": STORE}
    else:
        _try(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, **quiet)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own in its place
        yield ray
    finally:
        ray.shutdown()


def _try(address: str) -> None:
    """Connect in a process that can be ended: Ray's own attempt cannot. Raises InputError."""
    advice = "start one with ray start --head, and give the address that it prints"
    if address != "auto":
        host, _, port = address.rpartition(":")
        if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise InputError(f"the address is {address!r}; it takes HOST:PORT of a Ray cluster's head, auto, or local")
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT / 3).close()
        except OSError as e:
            raise InputError(f"no Ray cluster answers at {address}: {e.strerror or e}; {advice}") from e
    trial = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False)"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", trial, address], capture_output=True, text=True, errors="replace", timeout=CONNECT
        )
    except subprocess.TimeoutExpired as e:
        raise InputError(f"{address} does not answer as a Ray cluster within {CONNECT:g} s; {advice}") from e
    if done.returncode:
        said = " ".join(done.stderr.strip().splitlines()[-1:])
        raise InputError(f"cannot join the Ray cluster at {address}: {said}; {advice}, or add this machine to it")


def blender_version(
    job: Job,
    address: str,
    *,
    blender: str | None = None,
    threads: int = 2,
    device: str = "CPU",
    limits: Mapping[str, Any] | None = None,
    renderer: Opened | None = None,
) -> str:
    """The version of Blender that every node has. Arguments as for ``produce``.

    Raises InputError as ``connected`` does, ClusterError naming the nodes that have none, or not the same.
    """
    needs, opened = (
        _needs(threads, device),
        renderer or functools.partial(on_node.opened, job.profile, blender, threads, device, limits),
    )
    with connected(address) as ray:
        answers = _ask(ray, needs.fitting(ray), on_node.blender_version, __version__, ray.cloudpickle.dumps(opened))
    faults = [f"{node} {reason}" for node, (_, reason) in answers.items() if reason]
    versions = {version for version, _ in answers.values()}
    if not faults and len(versions) > 1:
        faults = [f"{node} has Blender {version}" for node, (version, _) in answers.items()]
        faults.append("install the same on every node")
    if faults:
        raise ClusterError("; ".join(faults))
    return versions.pop()


def produce(
    writer: Writer,
    job: Job,
    address: str,
    *,
    blender: str | None = None,
    threads: int = 2,
    device: str = "CPU",
    limits: Mapping[str, Any] | None = None,
    workers: int | None = None,
    piece: int = 8,
    patience: float | None = None,
    price: float | None = None,
    renderer: Opened | None = None,
    progress: OnProgress | None = None,
    say: Say | None = None,
) -> Manifest:
    """Render on a cluster what is missing, and finish shard after shard.

    Args:
        writer: Holds the data set's folder, which every node must see under the same absolute path, and may write.
        job: What to render; every node needs the same version of pcs_render, and the Blender noted in the writer's plan.
        address: As for ``connected``.
        blender: Interpreter or executable on the nodes, as ``locate.find`` takes it.
        threads: CPU cores per worker.
        device: One of ``blender.DEVICES``; other than CPU, every worker takes a GPU as well.
        limits: Of time and memory per picture, ``patience`` and ``memory_limit`` of ``blender.Renderer``.
        workers: How many to use; those that have no room yet wait for nodes, which makes an autoscaler add some. None: as many
            as there is room for on the nodes, also on those that join later.
        piece: Images handed out at a time, at most; slow ones are handed out singly.
        patience: Seconds in which a worker must have made a piece; then another takes its place. None: an hour, or as long as
            the limit of time per picture allows with all its tries (slow ones come singly).
        price: Of one worker for an hour, for the estimate.
        renderer: Makes a renderer on a node, in place of the one that these arguments describe; picklable.
        progress: called with (images done, of how many).
        say: called with messages: nodes left out, workers lost, and once, from the first images, what the rest will take.

    Raises InputError when the cluster cannot be reached or a node does not fit when it begins (a node that joins later and does
    not fit is left out), ClusterError, OutputError when the folder is full, DataError when what it holds is damaged.
    """
    if patience is None:
        each = (limits or {}).get("patience") or time_limit(job.profile, job.settings.width, job.settings.height)
        patience = max(3600.0, TRIES * each + 600.0)
    for what, value in {"workers": 1 if workers is None else workers, "piece": piece, "patience": patience}.items():
        if not value > 0:
            raise InputError(f"{what} is {value}; it must be positive")
    estimate(1, 1.0, 1, price=price)  # refuses a price now, not when it is first needed
    needs = _needs(threads, device)
    opened = renderer or functools.partial(on_node.opened, job.profile, blender, threads, device, limits)
    folder = writer.plan.folder.absolute()
    plan = dataclasses.replace(writer.plan, folder=folder)
    token = secrets.token_hex(16)
    report = say or (lambda message: None)

    def report_cost(count: int, seconds: float, workers: int) -> None:
        report(f"left: {estimate(count, seconds, workers, threads=threads, device=device, price=price)}")

    with connected(address) as ray, contextlib.ExitStack() as stack:
        with written(folder / on_node.TOKEN) as temporary:
            temporary.write_text(token)
        stack.callback((folder / on_node.TOKEN).unlink, missing_ok=True)
        nodes = needs.fitting(ray) if workers is None else [n for n in ray.nodes() if needs.room(n)]
        answers = _ask(ray, nodes, on_node.fault, str(folder), token, __version__)
        faults = [f"{node} {reason}" for node, reason in answers.items() if reason]
        if faults:
            raise InputError("; ".join(faults))
        run = Run(
            ray,
            writer,
            plan,
            (str(folder), token, __version__, [ray.put((plan, job, opened))]),
            needs,
            limit=workers,
            piece=piece,
            patience=patience,
            progress=progress or (lambda done, total: None),
            say=report,
            measured=report_cost,
        )
        try:
            run.run()
        except ray.exceptions.RayError as e:
            raise ClusterError(f"the cluster failed: {e}; what was made is kept, run again when it is well") from e
        finally:
            run.end()
    return writer.manifest


def _needs(threads: int, device: str) -> Needs:
    if not 1 <= threads <= 1024:
        raise InputError(f"threads is {threads}; it takes 1 to 1024")
    if device not in DEVICES:
        raise InputError(f"device is {device!r}; allowed are {', '.join(DEVICES)}")
    return Needs(threads, int(device != "CPU"))


def _ask(ray: Any, nodes: list[dict[str, Any]], function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """What a function of ``on_node`` returns on each of the nodes that live to answer, by the node's name."""
    task = ray.remote(num_cpus=0, max_retries=0)(function)
    pin = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    flying = {name(n): task.options(scheduling_strategy=pin(n["NodeID"], soft=False)).remote(*arguments) for n in nodes}
    answers = {}
    for node, reference in flying.items():
        try:
            answers[node] = ray.get(reference)
        except ray.exceptions.RayTaskError as e:
            raise e.cause from e
        except ray.exceptions.RayError:
            continue  # it is gone
    if nodes and not answers:
        raise ClusterError("no node of the cluster lived long enough to say what it has; run again")
    return answers
