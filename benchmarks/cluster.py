"""Render on a Ray cluster of three nodes on this machine with the real Blender, while workers and a node are killed.

    python benchmarks/cluster.py --count 24

It prints what happened and when, whether the data set is whole, and how many of its images are bit for bit those that one
renderer makes without Ray.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from pathlib import Path

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray listens on the loopback interface alone
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from ray.cluster_utils import Cluster

from pcs_render import cluster, production
from pcs_render.blender import Renderer, find_blender
from pcs_render.profile import PROFILES
from pcs_render.settings import Settings
from pcs_render.shards import Reader, verify

NODE = {"node_ip_address": "127.0.0.1", "object_store_memory": 80 << 20}


def workers() -> list[int]:
    """Processes of this cluster's workers."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::RenderActor"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def content(folder: Path) -> dict[int, tuple[bytes, str, bytes]]:
    return {r.image_id: (r.png, r.scene, r.boxes.tobytes()) for r in Reader(folder).records()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--size", type=int, default=128, help="px")
    parser.add_argument("--blender")
    args = parser.parse_args()
    settings = Settings(width=args.size, height=args.size, area=(16, args.size**2 / 9), long_side=args.size)
    job = production.Job.of(settings, PROFILES["preview"], seed=1)
    began = time.monotonic()

    def say(message: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {message}", flush=True)

    machines = Cluster()
    try:
        machines.add_node(num_cpus=0, include_dashboard=False, **NODE)
        nodes = [machines.add_node(num_cpus=1, **NODE) for _ in range(3)]

        def kill_a_worker() -> None:
            pid = workers()[0]
            say(f"killing worker {pid}")
            os.kill(pid, signal.SIGKILL)

        def kill_a_node() -> None:
            say(f"killing node {nodes[0].node_id[:8]}")
            machines.remove_node(nodes[0], allow_graceful=False)

        def add_a_node() -> None:
            say(f"adding node {machines.add_node(num_cpus=1, **NODE).node_id[:8]}")

        plan = [(0.2, kill_a_worker), (0.4, kill_a_node), (0.5, add_a_node), (0.7, kill_a_worker)]

        def progress(done: int, total: int) -> None:
            say(f"{done} of {total}")
            while plan and done >= plan[0][0] * total:
                plan.pop(0)[1]()

        with tempfile.TemporaryDirectory() as folder:
            there, here = Path(folder) / "ray", Path(folder) / "alone"
            with cluster.connected(machines.address):
                version = cluster.blender_version(job, machines.address, blender=args.blender, threads=1)
                say(f"every node has Blender {version}")
                with production.create_or_resume(there, job, args.count, blender=version, shard_size=8) as writer:
                    options = {"blender": args.blender, "threads": 1, "progress": progress, "say": say}
                    cluster.produce(writer, job, machines.address, **options)
            print(verify(there))
            found = find_blender(args.blender)
            with (
                Renderer(job.profile, found, threads=2) as renderer,
                production.create_or_resume(here, job, args.count, blender=version, shard_size=8) as writer,
            ):
                production.produce(writer, job, [renderer])
            same = sum(content(there)[i] == made for i, made in content(here).items())
            print(f"{same} of {args.count} images are those made without Ray")
            images, seconds = cluster.measured(there)
            print(f"{images} images took Blender {seconds:.2f} s each; {cluster.estimate(332_558, seconds, 100, threads=1)}")
    finally:
        machines.shutdown()


if __name__ == "__main__":
    main()
