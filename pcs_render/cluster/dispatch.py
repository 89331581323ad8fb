"""The driver's side of a run on a Ray cluster: who works, who works on what, and what is done.

Ray's own ``ActorPool`` with ``max_restarts`` and ``max_task_retries`` was tried instead (Ray 2.60, 48 images, two nodes). It
starts killed workers anew. But when a node went for good, what its actor had been given waited for 90 s, until the trial was
stopped, while the other worker idled; a worker that hung was not missed; a piece that failed did not say which worker or which
image it was; nodes that join get nothing to do, and nodes with another Blender cannot be left out. It would have spared the
table of what is in flight and the count of deaths, some 40 lines of the 800 of this folder.
"""

from __future__ import annotations

import contextlib
import textwrap
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pcs_augment.console import OnProgress

from ..errors import DataError, InputError, PcsError
from ..shards import DataSetPlan, ShardSummary, Writer
from . import on_node

LOOK = 2.0  # seconds between looks at which nodes there are
AHEAD = 2  # pieces handed to a worker at a time, so that it never waits for the driver
ANSWER = 10.0  # seconds that a piece should take
DEATHS = 5  # workers that may die over one image before it is skipped
LOSSES = 10  # workers that may die in a row with no image made in between; on large clusters three times as many as work
NO_NODES = 600.0  # seconds to wait for a node when all have left
FAREWELL = 5.0  # seconds that workers have to leave nothing behind
ENDING = "ending"  # what runs beside a worker's work, to end it


class ClusterError(PcsError, RuntimeError):
    """The cluster has no node that can render, or its workers die again and again."""


@dataclass(frozen=True)
class Needs:
    """What a worker takes of a node."""

    cpus: int
    gpus: int

    def room(self, node: dict[str, Any]) -> int:
        """How many workers the node holds when it does nothing else."""
        has = node["Resources"] if node["Alive"] else {}
        room = int(has.get("CPU", 0)) // self.cpus
        return min(room, int(has.get("GPU", 0)) // self.gpus) if self.gpus else room

    def fitting(self, ray: Any) -> list[dict[str, Any]]:
        """The nodes that hold a worker. Raises InputError when there is none."""
        nodes = [n for n in ray.nodes() if n["Alive"]]
        fitting = [n for n in nodes if self.room(n)]
        if not fitting:
            has = [(name(n), n["Resources"].get("CPU", 0), n["Resources"].get("GPU", 0)) for n in nodes]
            have = "; ".join(f"{node} has {cpus:g} and {gpus:g}" for node, cpus, gpus in has)
            raise InputError(
                f"no node of the cluster has the {self.cpus} CPU cores and {self.gpus} GPUs that a worker takes: {have}; "
                "take fewer threads, another device, or larger nodes"
            )
        return fitting


def name(node: dict[str, Any]) -> str:
    return f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']}, {node['NodeID'][:8]})"


@dataclass(frozen=True)
class Piece:
    shard: int
    ids: tuple[int, ...]  # none: the shard is to be finished


@dataclass(eq=False)
class RayWorker:
    actor: Any
    node: str = ""  # id; empty until it has started
    heard: float = 0.0  # when it last answered, or was given something to do
    pieces: list[Piece] = field(default_factory=list)  # in the order in which it does them


class Run:
    """Hands out what a writer misses until nothing is left.

    Args:
        setup: What ``on_node.RenderActor.start`` takes.
        limit: Workers to use; None: as many as there is room for.
        piece: Images handed out at a time, at most.
        patience: Seconds until a worker that does not answer is replaced.
        measured: called once with (images left, seconds per image, workers).
    """

    def __init__(
        self,
        ray: Any,
        writer: Writer,
        plan: DataSetPlan,
        setup: tuple[Any, ...],
        needs: Needs,
        *,
        limit: int | None,
        piece: int,
        patience: float,
        progress: OnProgress,
        say: Callable[[str], None],
        measured: Callable[[int, float, int], None],
    ):
        self.ray, self.writer, self.plan, self.setup, self.needs = ray, writer, plan, setup, needs
        self.limit, self.piece, self.patience = limit, piece, patience
        self.progress, self.say, self.measured = progress, say, measured
        takes: dict[str, Any] = {"num_cpus": needs.cpus, "num_gpus": needs.gpus, "scheduling_strategy": "SPREAD"}
        self.actor = ray.remote(**takes, max_restarts=0, concurrency_groups={ENDING: 1})(on_node.RenderActor)
        todo = writer.missing()
        self.left = {t.index: set(t.ids) for t in todo}  # images to be made, of shards to be finished
        self.fresh = deque((t.index, deque(t.ids)) for t in todo if t.ids)  # not handed out yet
        self.again = deque(Piece(t.index, ()) for t in todo if not t.ids)  # goes before what is fresh
        self.workers: list[RayWorker] = []
        self.unfit: dict[str, list[Any]] = {}  # by node, actors that stay there idle lest another be put in their place
        self.flying: dict[Any, tuple[RayWorker, Piece | None]] = {}
        self.deaths: Counter[int] = Counter()  # by image, workers that died over it
        self.losses = self.most = 0
        self.looked, self.populated = 0.0, time.monotonic()
        self.rendered, self.seconds, self.estimated = 0, 0.0, False
        self.reasons: dict[str, None] = {}  # why nodes were left out, in order

    def run(self) -> None:
        """Raises ClusterError, and whatever a node met that another would meet too."""
        self._show()
        while self.left:
            self._staff()
            self._hand_out()
            for reference in self._answered():
                if reference in self.flying:  # else its worker was lost with the answer before
                    self._take(reference)

    def end(self) -> None:
        """Let the workers go, with some seconds to clear up."""
        actors = [w.actor for w in self.workers if w.node]
        if actors:
            ending = [actor.stop.options(concurrency_group=ENDING).remote() for actor in actors]
            self.ray.wait(ending, num_returns=len(ending), timeout=FAREWELL)
        for actor in [w.actor for w in self.workers] + [a for unfit in self.unfit.values() for a in unfit]:
            self._kill(actor)

    def _kill(self, actor: Any) -> None:
        with contextlib.suppress(Exception):  # it may be gone, and so may the cluster
            self.ray.kill(actor)

    def _missing(self) -> int:
        return sum(map(len, self.left.values()))

    def _show(self) -> None:
        total = self.writer.manifest.count
        self.progress(total - self._missing(), total)

    # who works

    def _staff(self) -> None:
        """Look at the nodes now and then, and start workers where there is room."""
        now = time.monotonic()
        if now - self.looked < LOOK:
            return
        self.looked = now
        for worker in list(self.workers):
            if worker.pieces and now - worker.heard > self.patience:
                self._lost(worker, f"it has not answered for {self.patience:g} s")
        rooms = {n["NodeID"]: self.needs.room(n) for n in self.ray.nodes()}
        self.unfit = {node: actors for node, actors in self.unfit.items() if rooms.get(node)}
        room, idle = sum(rooms.values()), sum(map(len, self.unfit.values()))
        if room and room <= idle:
            raise ClusterError(f"no node can render: {'; '.join(self.reasons)}")
        if room:
            self.populated = now
        elif now - self.populated > NO_NODES:
            raise ClusterError(
                f"the cluster has had no node to render on for {NO_NODES:g} s; what was made is kept, run again when it has"
            )
        wanted = min(room - idle if self.limit is None else self.limit, max(1, self._missing()))
        while len(self.workers) < wanted:
            worker = RayWorker(self.actor.remote())
            self.workers.append(worker)
            self.flying[worker.actor.start.remote(*self.setup)] = worker, None
        self.most = max(self.most, len(self.workers))

    def _drop(self, worker: RayWorker) -> None:
        """Strike a worker off; others get its work."""
        self.workers.remove(worker)
        self.flying = {r: (w, p) for r, (w, p) in self.flying.items() if w is not worker}
        self.again.extendleft(reversed(worker.pieces))
        self.looked = 0.0

    def _leave_out(self, worker: RayWorker, reason: str) -> None:
        self._drop(worker)
        self.unfit.setdefault(worker.node, []).append(worker.actor)
        message = f"{self._where(worker)} {reason}"
        if message not in self.reasons:
            self.reasons[message] = None
            self.say(f"left out: {message}")

    def _lost(self, worker: RayWorker, reason: str) -> None:
        self._drop(worker)
        self._kill(worker.actor)
        self.losses += 1
        self.say(f"lost a worker on {self._where(worker)}, its images are handed out again: {reason}")
        if self.losses >= max(LOSSES, 3 * self.most):
            raise ClusterError(f"{self.losses} workers died in a row, and no image was made; the last one: {reason}")
        for image in worker.pieces[0].ids if worker.pieces else ():
            if not self.plan.kept_path(image).exists() and not self.plan.quarantine_path(image).exists():
                self.deaths[image] += 1
                if self.deaths[image] >= DEATHS:
                    self.plan.give_up(image, f"{DEATHS} workers of the cluster died over it; the last one: {reason}")
                break  # it had not come to the next one

    def _where(self, worker: RayWorker) -> str:
        return next((name(n) for n in self.ray.nodes() if n["NodeID"] == worker.node), "a node that has gone")

    # who works on what

    def _hand_out(self) -> None:
        started = [w for w in self.workers if w.node]
        for ahead in range(AHEAD):
            for worker in started:
                if len(worker.pieces) > ahead:
                    continue
                piece = self._next(len(started))
                if piece is None:
                    return
                if not worker.pieces:
                    worker.heard = time.monotonic()
                worker.pieces.append(piece)
                actor = worker.actor
                reference = actor.make.remote(piece.ids) if piece.ids else actor.finish.remote(piece.shard)
                self.flying[reference] = worker, piece

    def _next(self, workers: int) -> Piece | None:
        """What is to be done next.

        Pieces are so small that answers come often, and towards the end smaller, so that all workers end together.
        """
        if self.again:
            return self.again.popleft()
        if not self.fresh:
            return None
        shard, ids = self.fresh[0]
        often = int(ANSWER * self.rendered / self.seconds) if self.seconds else 1
        size = max(1, min(self.piece, often, self._missing() // (2 * AHEAD * workers), len(ids)))
        piece = Piece(shard, tuple(ids.popleft() for _ in range(size)))
        if not ids:
            self.fresh.popleft()
        return piece

    # what is done

    def _answered(self) -> list[Any]:
        if not self.flying:
            time.sleep(LOOK)
            return []
        first, others = self.ray.wait(list(self.flying), num_returns=1, timeout=LOOK)
        more = self.ray.wait(others, num_returns=len(others), timeout=0)[0] if first and others else []
        return [*first, *more]

    def _take(self, reference: Any) -> None:
        worker, piece = self.flying.pop(reference)
        worker.heard = time.monotonic()
        try:
            answer = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as e:
            raise e.cause from e
        except self.ray.exceptions.RayError as e:
            self._lost(worker, textwrap.shorten(str(e).strip().splitlines()[-1], 250))
            return
        if piece is None:
            worker.node, reason = answer
            if reason:
                self._leave_out(worker, reason)
        elif piece.ids:
            self._made(worker, piece, *answer)
        else:
            worker.pieces.remove(piece)
            self._finished(piece.shard, answer)

    def _made(self, worker: RayWorker, piece: Piece, rendered: int, seconds: float, reason: str) -> None:
        self.rendered, self.seconds = self.rendered + rendered, self.seconds + seconds
        if rendered:
            self.losses = 0
        if reason:
            self._leave_out(worker, reason)
            return
        worker.pieces.remove(piece)
        left = self.left[piece.shard]
        left.difference_update(piece.ids)
        if not left:
            self.again.appendleft(Piece(piece.shard, ()))
        started = sum(1 for w in self.workers if w.node)
        if not self.estimated and self.rendered >= 2 * started and self._missing():
            self.estimated = True
            self.measured(self._missing(), self.seconds / self.rendered, started)
        self._show()

    def _finished(self, shard: int, answer: ShardSummary | tuple[int, ...] | None) -> None:
        if answer is None:
            self.again.append(Piece(shard, ()))
            return
        if isinstance(answer, tuple):
            self.say(f"made again, for they have vanished from the folder: {len(answer)} images of shard {shard}")
            self.left[shard] = set(answer)
            self.fresh.append((shard, deque(answer)))
            self._show()
            return
        deadline = time.monotonic() + on_node.LAG
        while True:
            try:
                self.writer.enter(answer)
                break
            except DataError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        del self.left[shard]
