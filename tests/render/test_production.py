"""Making data sets on one machine, with a renderer that draws hulls instead of starting Blender."""

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pcs_render import production
from pcs_render.blender import Rendered, SceneFailed
from pcs_render.errors import InputError, OutputError
from pcs_render.labels import labels
from pcs_render.profile import PROFILES
from pcs_render.settings import Settings
from pcs_render.shards import Reader, verify

SMALL = Settings(width=64, height=48, area=(4, 400), long_side=48, max_crystals=6, shapes="cube")


class Drawer:
    """Hulls in grey: as reproducible as Blender."""

    def __init__(self, fails=(), seconds=0.0):
        self.fails, self.seconds, self.seen, self.closed = set(fails), seconds, [], False

    def render(self, scene):
        self.seen.append(scene.image)
        time.sleep(self.seconds)
        if scene.image in self.fails:
            raise SceneFailed(scene.image, "it always does")
        image = Image.new("L", (scene.camera.width, scene.camera.height), 128)
        for polygon in labels(scene).polygons:
            ImageDraw.Draw(image).polygon([tuple(p) for p in polygon.tolist()], fill=200)
        file = io.BytesIO()
        image.save(file, "PNG")
        return Rendered(file.getvalue(), 0.5, 0.5, "CPU", "4.5.0", 1)

    def close(self):
        self.closed = True


@pytest.fixture(scope="module")
def job():
    return production.Job.of(SMALL, PROFILES["preview"], seed=3)


def run(folder, job, count, renderers, progress=None, **options):
    with production.create_or_resume(folder, job, count, blender="4.5.0", **options) as writer:
        return production.produce(writer, job, renderers, progress)


def content(folder):
    return {r.image_id: (r.png, r.scene, r.boxes.tobytes()) for r in Reader(folder).records()}


def test_a_data_set_is_complete_and_its_labels_are_those_of_its_scenes(tmp_path, job):
    told = []
    manifest = run(tmp_path, job, 7, [Drawer()], lambda *x: told.append(x), shard_size=3)
    assert [manifest.shards[i].images for i in range(3)] == [3, 3, 1]
    assert verify(tmp_path).ok
    assert told[0] == (0, 7)
    assert told[-1] == (7, 7)
    for record in Reader(tmp_path).records():
        assert json.loads(record.scene) == json.loads(job.scene(record.image_id).to_json())
        assert np.allclose(record.boxes, labels(job.scene(record.image_id)).boxes, atol=1e-4)


def test_workers_and_shard_sizes_change_nothing(tmp_path, job):
    run(tmp_path / "a", job, 9, [Drawer()], shard_size=4)
    run(tmp_path / "b", job, 9, [Drawer(), Drawer(), Drawer()], shard_size=9)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_larger_count_extends_and_nothing_is_rendered_twice(tmp_path, job):
    first, second = Drawer(), Drawer()
    run(tmp_path, job, 4, [first], shard_size=3)
    run(tmp_path, job, 8, [second], shard_size=3)
    assert sorted(first.seen + second.seen) == list(range(8))
    run(tmp_path / "once", job, 8, [Drawer()], shard_size=3)
    assert content(tmp_path) == content(tmp_path / "once")


def test_an_image_that_always_fails_is_set_aside_with_its_scene(tmp_path, job):
    manifest = run(tmp_path, job, 5, [Drawer(fails={2})], shard_size=2)
    assert [i for s in manifest.shards.values() for i in s.missing] == [2]
    kept = json.loads((tmp_path / "quarantine" / "0000000002.json").read_text())
    assert kept["image_id"] == 2
    assert "always does" in kept["reason"]
    assert kept["scene"] == json.loads(job.scene(2).to_json())
    report = verify(tmp_path)
    assert report.ok
    assert set(report.quarantined) == {2}
    again = Drawer()
    run(tmp_path, job, 5, [again], shard_size=2)
    assert again.seen == []
    options = {"blender": "4.5.0", "shard_size": 2, "retry_quarantined": True}
    with production.create_or_resume(tmp_path, job, 5, **options) as writer:
        production.produce(writer, job, [again])
    assert again.seen == [2]
    assert verify(tmp_path).images == 5


def test_what_stops_a_run_stops_all_of_it(tmp_path, job):
    class Full(Drawer):
        def render(self, scene):
            if scene.image == 3:
                raise OutputError("the disk is full")
            return super().render(scene)

    workers = [Full(), Full()]
    with pytest.raises(OutputError, match="full"):
        run(tmp_path, job, 50, workers)
    assert all(w.closed for w in workers)
    assert sum(len(w.seen) for w in workers) < 12
    late = Drawer()
    run(tmp_path, job, 50, [late])
    assert len(late.seen) > 38
    assert 3 in late.seen
    assert verify(tmp_path).ok


def test_two_runs_on_one_folder_are_refused(tmp_path, job):
    inside = threading.Event()
    leave = threading.Event()

    class Slow(Drawer):
        def render(self, scene):
            inside.set()
            leave.wait(20)
            return super().render(scene)

    first = threading.Thread(target=run, args=(tmp_path, job, 1, [Slow()]))
    first.start()
    inside.wait(20)
    with pytest.raises(OutputError, match=str(os.getpid())):
        run(tmp_path, job, 1, [Drawer()])
    leave.set()
    first.join()
    assert verify(tmp_path).ok


def test_other_settings_or_seed_are_another_data_set(tmp_path, job):
    run(tmp_path, job, 1, [Drawer()])
    other = production.Job.of(SMALL, PROFILES["preview"], seed=4)
    with pytest.raises(InputError, match="seed is 4, there it is 3"):
        run(tmp_path, other, 1, [Drawer()])
    with pytest.raises(InputError, match="shapes_digest"):
        production.Job.of(Settings(shapes="cube", shapes_digest="0123456789abcdef"), PROFILES["preview"])


RUN = """
import sys, test_production as t
from pcs_render import production
job = production.Job.of(t.SMALL, t.PROFILES["preview"], seed=3)
t.run(sys.argv[1], job, 24, [t.Drawer(seconds=0.02), t.Drawer(seconds=0.02)], shard_size=5)
"""


def test_killed_at_any_moment_and_started_again_it_becomes_the_same_data_set(tmp_path, job):
    random = np.random.default_rng(0)
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    command = [sys.executable, "-c", textwrap.dedent(RUN), str(tmp_path / "killed")]
    for _ in range(4):
        process = subprocess.Popen(command, env=environment)
        deadline = time.monotonic() + 60
        while not (tmp_path / "killed" / "manifest.json").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(random.uniform(0, 0.25))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, env=environment, check=True)
    run(tmp_path / "whole", job, 24, [Drawer()], shard_size=5)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert verify(tmp_path / "killed").ok
    assert not list((tmp_path / "killed" / "shards").glob("*.partial"))
