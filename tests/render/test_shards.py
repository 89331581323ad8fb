"""Data sets on disk: what is written is what is read, in pieces, in runs one after another, by several processes."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import IDENTITY, assert_holds, assert_same, data_set, opened, picture, record, to_make

from pcs_render.errors import DataError, InputError, OutputError
from pcs_render.settings import Settings
from pcs_render.shards import Manifest, Reader, Writer, verify


@settings(max_examples=30)
@given(counts=st.lists(st.integers(0, 30), min_size=1, max_size=25), size=st.integers(1, 25))
def test_what_is_written_is_read(tmp_path_factory, counts, size):
    folder = tmp_path_factory.mktemp("set")
    with opened(folder, len(counts), size) as writer:
        for todo in writer.missing():
            writer.write_shard(todo.index, [record(i, counts[i]) for i in reversed(todo.ids)])
    reader = Reader(folder)
    for i, n in enumerate(counts):
        assert_same(record(i, n), reader.record(i))
    for labels, n in zip(reader.labels(), counts):
        assert [len(p) for p in labels.polygons] == labels.corners.tolist() == [4] * n
    assert verify(folder).ok


def changed(**changes):
    return dataclasses.replace(record(1, 3), **changes)


def with_box(column, value):
    boxes = record(1, 3).boxes.copy()
    boxes[1, column] = value
    return changed(boxes=boxes)


BROKEN = {
    "not finite": with_box(0, np.nan),
    "w >= h > 0": with_box(3, 99.0),
    "sides": with_box(3, 0.0),
    "outside \\[-pi/2, pi/2\\)": with_box(4, 1.6),
    "outside its own box": with_box(1, 40.0),
    "3 boxes but 2 polygons": changed(polygons=record(1, 3).polygons[:2]),
    "3 boxes but 2 depth": changed(depth=np.ones(2)),
    "fewer than 3": changed(polygons=[*record(1, 3).polygons[:2], np.zeros((2, 2))]),
    "outside the 64 x 48 px image": changed(polygons=[record(1, 3).polygons[0] + [100, 0], *record(1, 3).polygons[1:]]),
    "negative model": changed(model=np.array([1, -1, 1])),
    "whole numbers": changed(model=np.array([1, np.nan, 1])),
    "shape": changed(boxes=np.zeros((3, 4))),
    "refractive_index holds": changed(refractive_index=np.array([1.1, np.inf, 1.2])),
    "64 x 48 px, its labels say 32 x 48": dataclasses.replace(record(1, 0), width=32),
    "not a PNG": changed(png=b"JFIF" * 20),
    "8-bit grey": dataclasses.replace(record(1, 0), png=picture(np.zeros((48, 64, 3), np.uint8))),
    "ten digits": changed(image_id=-1),
    "number of seconds": changed(seconds=float("nan")),
    "JSON object": changed(scene="[1]"),
}


@pytest.mark.parametrize("message", BROKEN)
def test_broken_records_are_refused(tmp_path, message):
    with opened(tmp_path / "set", 10) as writer:
        with pytest.raises(InputError, match=message):
            writer.keep(BROKEN[message])
        with pytest.raises(InputError, match=message):
            writer.write_shard(0, [BROKEN[message]])
        assert to_make(writer) == list(range(10))
    assert not list((tmp_path / "set" / "shards").rglob("*.parquet"))


def test_an_angle_that_rounds_to_a_quarter_turn_is_the_same_axis(tmp_path):
    upright = dataclasses.replace(
        record(0, 1),
        boxes=np.array([[20, 20, 9, 3, np.nextafter(np.pi / 2, 0)]]),
        polygons=[np.array([[18.5, 15.5], [21.5, 15.5], [21.5, 24.5], [18.5, 24.5]])],
    )
    with opened(tmp_path, 1) as writer:
        writer.write_shard(0, [upright])
    assert Reader(tmp_path).record(0).boxes[0, 4] == -np.float32(np.pi / 2)


def test_kept_images_survive_and_are_folded(tmp_path):
    with opened(tmp_path, 25) as writer:
        assert [len(t.ids) for t in writer.missing()] == [10, 10, 5]
        for i in (3, 12, 4):
            writer.keep(record(i))
        with pytest.raises(InputError, match="shard 0 lacks image 0"):
            writer.finish(0)
    with opened(tmp_path, 25) as writer:
        assert to_make(writer) == [i for i in range(25) if i not in (3, 4, 12)]
        assert {e for t in writer.missing() for e in t.ids} == set(to_make(writer))
        for todo in writer.missing():
            for i in todo.ids:
                writer.keep(record(i))
            assert writer.finish(todo.index).images == len(writer.manifest.ids(todo.index))
        assert writer.missing() == []
        first = writer.manifest.shards[1]
        assert dataclasses.replace(writer.write_shard(1, map(record, range(10, 20))), seconds=first.seconds) == first
    assert_holds(tmp_path, range(25))


def test_wrong_images_for_a_shard_are_refused(tmp_path):
    with opened(tmp_path, 20) as writer:
        for ids, message in (
            ((*range(10), 9), "image 9 twice"),
            ((*range(9), 10), "image 10 does not belong"),
            (range(1, 10), "lacks"),
        ):
            with pytest.raises(InputError, match=message):
                writer.write_shard(0, map(record, ids))
        with pytest.raises(InputError, match="no shard 2"):
            writer.write_shard(2, [])
        with pytest.raises(InputError, match="image 20 is not of this data set"):
            writer.keep(record(20))


def test_a_larger_count_extends_without_making_an_image_again(tmp_path):
    data_set(tmp_path, 13)
    with opened(tmp_path, 27) as writer:
        assert to_make(writer) == list(range(13, 27))
    with opened(tmp_path, 31) as writer:
        assert to_make(writer) == list(range(13, 31))
        for todo in writer.missing():
            for i in todo.ids:
                writer.keep(record(i))
            writer.finish(todo.index)
    assert_holds(tmp_path, range(31))
    with pytest.raises(InputError, match="meant to hold 31 images, not 30"):
        opened(tmp_path, 30)


def test_images_given_up_are_left_out_until_their_file_goes(tmp_path):
    data_set(tmp_path, 20, give_up=(3, 19))
    assert_holds(tmp_path, [i for i in range(20) if i not in (3, 19)])
    assert verify(tmp_path).quarantined == {3: "for the test", 19: "for the test"}
    with opened(tmp_path, 20) as writer:
        assert writer.missing() == []
    (tmp_path / "quarantine" / "0000000003.json").unlink()
    assert verify(tmp_path).missing == [3]
    with opened(tmp_path, 20) as writer:
        assert to_make(writer) == [3]
        writer.keep(record(3))
        writer.finish(0)
    assert_holds(tmp_path, range(19))


def test_an_image_kept_after_all_leaves_quarantine(tmp_path):
    with opened(tmp_path, 5) as writer:
        writer.give_up(2, "died", attempts=3)
        for i in range(5):
            writer.keep(record(i))
        assert writer.finish(0).missing == ()
    assert_holds(tmp_path, range(5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "seed is 4, there it is 3"),
        ({"first": 10}, "first is 10, there it is 0"),
        ({"shard_size": 5}, "shard_size is 5, there it is 10"),
        ({"settings": {"width": 65}}, "settings.width is 65, there it is 64"),
        ({"profile": {"samples": 16, "denoise": True}}, "profile.denoise is True, there it is None"),
    ],
)
def test_a_folder_with_another_data_set_is_refused(tmp_path, change, message):
    data_set(tmp_path, 10)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.*") if p.is_file()}
    with pytest.raises(InputError, match=message):
        opened(tmp_path, 10, **change)
    assert before == {p: p.read_bytes() for p in before}


@pytest.mark.parametrize(
    "change", [{"seed": -1}, {"seed": 1.5}, {"count": 0}, {"shard_size": 0}, {"validation": 1.0}, {"settings": {"a": np.nan}}]
)
def test_impossible_arguments_are_refused(tmp_path, change):
    with pytest.raises(InputError, match=next(iter(change))):
        Writer.create_or_resume(tmp_path, **{**IDENTITY, "count": 10, **change})


def test_hashes_are_those_of_the_settings(tmp_path):
    data_set(tmp_path, 1, settings=Settings().recorded())
    assert Manifest.load(tmp_path).settings_hash == Settings().hash


def test_other_processes_write_through_the_plan(tmp_path):
    """As workers do that see the folder but do not hold it: the plan travels, summaries come back."""
    with opened(tmp_path, 20) as writer:
        plan = pickle.loads(pickle.dumps(writer.plan))
        assert len(pickle.dumps(plan)) < 2000
        for todo in writer.missing():
            for i in todo.ids:
                plan.keep(record(i))
        summaries = [pickle.loads(pickle.dumps(plan.finish(index))) for index in (1, 0)]
        assert plan.finish(1) == summaries[0]  # done twice, as after a worker that died late
        for summary in summaries:
            writer.enter(summary)
        with pytest.raises(DataError, match="is not the file that was reported"):
            writer.enter(dataclasses.replace(summaries[0], sha256="0" * 64))
    assert_holds(tmp_path, range(20))


def test_progress_is_told(tmp_path):
    told = []
    data_set(tmp_path, 25, progress=lambda *a: told.append(a))
    verify(tmp_path, workers=3, progress=lambda *a: told.append(a))
    assert told == 2 * [(1, 3), (2, 3), (3, 3)]


def test_the_report_names_what_is_missing_and_given_up(tmp_path):
    with opened(tmp_path, 50) as writer:
        writer.give_up(3, "died thrice")
        for index in (0, 2):
            writer.write_shard(index, [record(i) for i in writer.manifest.ids(index) if i != 3])
    report = verify(tmp_path)
    assert str(report).splitlines()[1:] == [
        "missing: 10-19, 30-49; run the same render command again to make them",
        "skipped: image 3 (died thrice)",
        "not all is well",
    ]
    for name, content in (("0000000022.json", "{}"), ("0000000023.json", '{"image_id": 24, "reason": ""}')):
        (tmp_path / "quarantine" / name).write_text(content)
    (tmp_path / "quarantine" / "0000000025.json").write_text('{"image_id": 25, "reason": "too early"}')
    problems = verify(tmp_path).problems
    assert len(problems) == 3
    for problem, words in zip(
        sorted(problems), ("22.json is damaged", "23.json names image 24", "25.json: image 25 was skipped")
    ):
        assert words in problem


def test_one_writer_at_a_time(tmp_path):
    with opened(tmp_path, 10), pytest.raises(OutputError, match="another run"):
        opened(tmp_path, 10)
    opened(tmp_path, 10).close()


def test_the_command_line_needs_no_heavy_imports():
    script = """
        import sys
        import pcs_render.export, pcs_render.shards
        heavy = {"torch", "scipy", "matplotlib", "ray", "bpy", "pandas", "yaml"} & set(sys.modules)
        assert not heavy, heavy
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
