"""Data sets made on a Ray cluster of several nodes on this machine, while its workers and nodes are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

# all of Ray on the loopback interface: without this it takes the address 127.0.0.1 for another one of this machine
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import drawer
from drawer import OPENS, OTHER, VERSION, Drawer, Note, Opened, notes

import pcs_render
from pcs_render import cluster, production
from pcs_render.cluster import dispatch, on_node
from pcs_render.errors import InputError, OutputError
from pcs_render.profile import PROFILES
from pcs_render.settings import Settings
from pcs_render.shards import Reader, verify

pytestmark = pytest.mark.cluster

SMALL = Settings(width=64, height=48, area=(4, 400), long_side=48, max_crystals=6, shapes="cube")
STORE = 80 << 20  # bytes, about the least that Ray takes
SOON = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}  # until a killed node counts as dead
PATIENCE = 600  # seconds for one test, of which a busy machine takes many


@pytest.fixture(autouse=True)
def watchdog():
    def late(*_):
        raise TimeoutError(f"the test did not end within {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def sent_by_value():
    """The nodes do not find the module."""
    import ray

    ray.cloudpickle.register_pickle_by_value(drawer)


class Machines:
    """A cluster whose head renders nothing."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        self.cluster = Cluster()
        self.add(num_cpus=0, include_dashboard=False, _system_config=SOON)
        self.nodes = [self.add() for _ in range(3)]

    @property
    def address(self):
        return self.cluster.address

    def add(self, num_cpus=1, **options):
        return self.cluster.add_node(num_cpus=num_cpus, node_ip_address="127.0.0.1", object_store_memory=STORE, **options)

    def remove(self, node, allow_graceful=True):
        self.cluster.remove_node(node, allow_graceful)


@pytest.fixture(scope="module")
def machines():
    import ray

    found = None
    sent_by_value()
    try:
        found = Machines()
        ray.init(found.address, log_to_driver=False)  # once for all tests, to save time
        yield found
    finally:
        ray.shutdown()
        if found is not None:
            found.cluster.shutdown()


@pytest.fixture(autouse=True)
def short_looks(monkeypatch):
    monkeypatch.setattr(dispatch, "LOOK", 0.3)


@pytest.fixture(scope="module")
def job():
    return production.Job.of(SMALL, PROFILES["preview"], seed=3)


def writer(folder, job, count, shard_size=8):
    return production.create_or_resume(folder, job, count, blender=VERSION, shard_size=shard_size)


def produce(folder, job, count, address, opened, **options):
    with writer(folder, job, count) as held:
        return cluster.produce(held, job, address, threads=1, renderer=opened, **options)


def assert_as_made_alone(folder, job, count, tmp_path, given_up=()):
    """Complete, whole, and bit for bit what this machine makes without Ray."""
    report = verify(folder)
    assert report.ok, str(report)
    assert sorted(report.quarantined) == sorted(given_up)
    assert [r.image_id for r in Reader(folder).records()] == [i for i in range(count) if i not in given_up]
    with writer(tmp_path / "alone", job, count) as held:
        alone = production.produce(held, job, [Drawer(Opened(fails=frozenset(given_up)))])
    with writer(folder, job, count) as held:
        assert held.manifest.shards == alone.shards
    left = {p.name for p in folder.iterdir()} | {p.name for p in (folder / "shards").iterdir()}
    assert not [n for n in left if n.startswith(".cluster") or n.endswith((".partial", ".tmp"))]


def stored(folder, count, shard_size=8):
    """Images that are on disk, in shards or waiting for theirs."""
    finished = [int(p.stem) for p in folder.glob("shards/*.parquet")]
    kept = {int(p.stem) for p in folder.glob("shards/*.partial/*.parquet")}
    return kept | {i for i in range(count) if i // shard_size in finished}


def rendered(log: Path) -> list[Note]:
    return [n for n in notes(log) if n.what == "begins"]


def wait_until(condition, seconds=240.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_killed_workers_and_nodes_cost_no_image_and_double_none(machines, job, tmp_path):
    count, log, said = 48, tmp_path / "log", []
    lost, added = machines.nodes[0], []

    def kill_a_worker():
        os.kill(rendered(log)[-1].pid, signal.SIGKILL)

    def kill_a_node():
        machines.remove(lost, allow_graceful=False)
        machines.nodes.remove(lost)

    def add_a_node():
        added.append(machines.add(env_vars={OPENS: str(tmp_path / "gate")}))
        machines.nodes.append(added[0])

    events = {8: kill_a_worker, 13: kill_a_node, 16: add_a_node, 36: kill_a_worker}

    def progress(done, total):
        assert total == count
        for when in [w for w in events if done >= w]:
            events.pop(when)()

    opened = Opened(log, 0.1, gate=tmp_path / "gate", waits=30)
    manifest = produce(tmp_path / "data", job, count, machines.address, opened, progress=progress, say=said.append)
    assert not events
    assert manifest.complete
    assert_as_made_alone(tmp_path / "data", job, count, tmp_path)
    nodes = {n.node for n in rendered(log)}
    assert {lost.node_id, added[0].node_id} <= nodes
    assert len(nodes) == 4
    times = Counter(n.image for n in rendered(log))
    assert set(times) == set(range(count))
    assert sum(times.values()) <= count + 10  # what was being rendered; a node's workers may outlive it a little
    assert any("lost a worker" in s for s in said)  # a kill between two images costs none, and nothing is said
    assert sum(s.startswith("left: ") and "workers of 1 core" in s for s in said) == 1


RUN = """
import pathlib, signal, sys
import test_cluster as t
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background had it ignored
t.sent_by_value()
t.produce(pathlib.Path(sys.argv[1]), t.production.Job.of(t.SMALL, t.PROFILES["preview"], seed=3), 60, sys.argv[2],
          t.Opened(pathlib.Path(sys.argv[3]), 0.2), workers=2)
"""


def test_a_driver_that_is_interrupted_or_killed_is_taken_up_by_the_next(machines, job, tmp_path):
    folder, log = tmp_path / "data", tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", RUN, str(folder), machines.address, str(log)]
    counted = []
    for ending in (signal.SIGINT, signal.SIGKILL):
        seen = len(rendered(log))
        driver = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda seen=seen: len(rendered(log)) >= seen + 8)
            driver.send_signal(ending)
            _, said = driver.communicate(timeout=120)
        finally:
            driver.kill()
            driver.wait()
        if ending == signal.SIGINT:
            assert "KeyboardInterrupt" in said
            assert not (folder / ".cluster").exists()
            assert sum(n.what == "closes" for n in notes(log)) == 2
        wait_until(lambda: not any(alive(n.pid) for n in notes(log)))
        times = Counter(n.image for n in rendered(log))
        counted.append({i: times[i] for i in stored(folder, 60)})
    assert len(counted[1]) > len(counted[0]) >= 5
    produce(folder, job, 60, machines.address, Opened(log))
    assert_as_made_alone(folder, job, 60, tmp_path)
    times = Counter(n.image for n in rendered(log))
    for before in counted:
        assert {i: times[i] for i in before} == before  # what was stored is not made again


def test_images_that_fail_or_kill_their_workers_are_given_up(machines, job, tmp_path, monkeypatch):
    monkeypatch.setattr(dispatch, "DEATHS", 2)
    opened = Opened(fails=frozenset({5}), kills=frozenset({11}))
    manifest = produce(tmp_path / "data", job, 16, machines.address, opened, workers=2)
    assert sorted(i for s in manifest.shards.values() for i in s.missing) == [5, 11]
    report = verify(tmp_path / "data")
    assert "always does" in report.quarantined[5]
    assert "2 workers of the cluster died over it" in report.quarantined[11]
    assert_as_made_alone(tmp_path / "data", job, 16, tmp_path, given_up=(5, 11))


def test_where_every_worker_dies_the_run_ends(machines, job, tmp_path, monkeypatch):
    monkeypatch.setattr(dispatch, "LOSSES", 2)
    with pytest.raises(cluster.ClusterError, match="3 workers died in a row"):
        produce(tmp_path, job, 9, machines.address, Opened(kills=frozenset(range(9))), workers=1)


def test_a_full_folder_ends_the_run_with_its_own_error(machines, job, tmp_path):
    with pytest.raises(OutputError, match="No space left"):
        produce(tmp_path, job, 20, machines.address, Opened(fills=frozenset({9})), workers=1)
    assert stored(tmp_path, 20) == set(range(9))


def test_a_worker_that_hangs_is_replaced(machines, job, tmp_path):
    log, stopped = tmp_path / "log", []

    def progress(done, total):
        if done >= 2 and not stopped:
            stopped.append(rendered(log)[-1].pid)
            os.kill(stopped[0], signal.SIGSTOP)

    said = []
    options = {"patience": 3, "workers": 2, "progress": progress, "say": said.append}
    produce(tmp_path / "data", job, 12, machines.address, Opened(log, 0.1), **options)
    assert_as_made_alone(tmp_path / "data", job, 12, tmp_path)
    assert any("has not answered for 3 s" in s for s in said)
    wait_until(lambda: not alive(stopped[0]))


def test_workers_wait_for_nodes_with_gpus_and_end_when_these_stay_away(machines, job, tmp_path, monkeypatch):
    nodes = []

    def add_at_the_beginning(done, total):
        if not nodes:
            nodes.append(machines.add(num_cpus=2, num_gpus=2))

    def remove_soon(done, total):
        if done >= 2 and nodes:
            machines.remove(nodes.pop())

    opened = Opened(tmp_path / "log", 0.1)
    try:
        options = {"device": "CUDA", "workers": 2, "progress": add_at_the_beginning}
        produce(tmp_path / "data", job, 8, machines.address, opened, **options)
        (node,) = {n.node for n in rendered(tmp_path / "log")}
        assert node == nodes[0].node_id
        assert {n.gpus for n in rendered(tmp_path / "log")} == {"0", "1"}
        monkeypatch.setattr(dispatch, "NO_NODES", 1.0)
        with pytest.raises(cluster.ClusterError, match="no node to render on for 1 s"):
            produce(tmp_path / "more", job, 80, machines.address, opened, device="CUDA", progress=remove_soon)
    finally:
        for node in nodes:
            machines.remove(node)


def test_kept_images_that_vanish_are_made_again(machines, job, tmp_path, monkeypatch):
    monkeypatch.setattr(on_node, "LAG", 0.5)
    folder, log, said, gone = tmp_path / "data", tmp_path / "log", [], []

    def progress(done, total):
        first = sorted(folder.glob("shards/00000000.partial/*.parquet"))[:1]
        if done >= 4 and not gone and first:
            first[0].unlink()
            gone.append(int(first[0].stem))

    produce(folder, job, 8, machines.address, Opened(log, 0.05), workers=1, piece=1, progress=progress, say=said.append)
    assert Counter(n.image for n in rendered(log))[gone[0]] == 2
    assert any("vanished from the folder: 1 images of shard 0" in s for s in said)
    assert_as_made_alone(folder, job, 8, tmp_path)


def test_a_node_with_another_blender_is_named_and_left_out(machines, job, tmp_path):
    log, gate, said, added = tmp_path / "log", tmp_path / "gate", [], []
    assert cluster.blender_version(job, machines.address, threads=1, renderer=Opened()) == VERSION

    def progress(done, total):
        if done >= 4 and not added:
            added.append(machines.add(env_vars={OTHER: "4.2.0"}))

    def say(message):
        said.append(message)
        if message.startswith("left out"):
            gate.touch()

    opened = Opened(log, gate=gate, waits=6)
    try:
        produce(tmp_path / "data", job, 16, machines.address, opened, progress=progress, say=say)
        (left_out,) = [s for s in said if s.startswith("left out")]
        assert f"{added[0].node_id[:8]}) has Blender 4.2.0" in left_out
        assert VERSION in left_out
        assert added[0].node_id not in {n.node for n in rendered(log)}
        assert_as_made_alone(tmp_path / "data", job, 16, tmp_path)
        with pytest.raises(cluster.ClusterError, match=f"{added[0].node_id[:8]}.*has Blender 4.2.0"):
            cluster.blender_version(job, machines.address, threads=1, renderer=Opened())
    finally:
        for node in added:
            machines.remove(node)


def test_when_no_node_can_render_the_run_ends_with_their_reasons(machines, job, tmp_path):
    with pytest.raises(cluster.ClusterError, match=r"no node can render: (node .* does not start.*){3}"):
        produce(tmp_path, job, 40, machines.address, Opened(breaks=frozenset(range(40))))


def test_a_node_with_another_version_of_pcs_render_is_named(machines, job, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, types\nsys.modules['pcs_render'] = types.SimpleNamespace(__version__='0.0.1')\n"
    )
    old = machines.add(env_vars={"PYTHONPATH": str(tmp_path)})
    try:
        with pytest.raises(InputError) as error:
            produce(tmp_path / "data", job, 2, machines.address, Opened())
        assert f"{old.node_id[:8]}) has pcs_render 0.0.1; install version {pcs_render.__version__}" in str(error.value)
        assert str(error.value).count("has pcs_render") == 1
    finally:
        machines.remove(old)


def test_a_folder_that_the_nodes_do_not_see_is_refused_by_name(machines, job, tmp_path):
    (tmp_path / "data").mkdir()
    descriptor = os.open(tmp_path / "data", os.O_RDONLY)
    try:
        private = Path(f"/proc/self/fd/{descriptor}")  # every process has another folder there, or none
        with pytest.raises(InputError) as error:
            produce(private, job, 2, machines.address, Opened())
    finally:
        os.close(descriptor)
    assert str(error.value).count("does not see the folder /proc/self/fd/") == 3
    for node in machines.nodes:
        assert node.node_id[:8] in str(error.value)


def test_more_than_any_node_has_is_refused(machines, job, tmp_path):
    with writer(tmp_path, job, 2) as held, pytest.raises(InputError, match=r"no node .* 64 CPU cores .* has 1 and 0"):
        cluster.produce(held, job, machines.address, threads=64, renderer=Opened())
