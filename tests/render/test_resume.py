"""Data sets that are resumed: what is refused, what is recorded, and that nothing is deleted before everything is checked."""

import contextlib
import dataclasses
import json
import warnings

import pyarrow.parquet as pq
import pytest
from records import assert_holds, data_set, opened, record, to_make

from pcs_render import commands, habits, production, profile
from pcs_render.cli import main
from pcs_render.errors import DataError, InputError
from pcs_render.habits import obj
from pcs_render.profile import PROFILES
from pcs_render.settings import Settings
from pcs_render.shards import Manifest, PcsShards, Reader, verify
from pcs_render.shards.columns import ShardFile

SMALL = Settings(width=64, height=48, area=(4, 400), long_side=48, max_crystals=3, shapes="cube")
TINY = {"width": 64, "height": 48, "area": [4, 400], "long_side": 48, "max_crystals": 3, "shapes": "cube"}


@pytest.fixture
def rendered(monkeypatch):
    """The command ``render`` with a renderer that needs no Blender; returns the seeds that it rendered."""
    from pcs_render import blender
    from pcs_render.locate import Blender

    seeds = []

    class Drawer:
        def __init__(self, *_, **options):
            self.options = options

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.close()

        def close(self):
            pass

        def render(self, scene):
            from test_production import Drawer as Plain

            seeds.append(scene.seed)
            return Plain().render(scene)

    monkeypatch.setattr(blender, "Renderer", Drawer)
    monkeypatch.setattr(blender, "find_blender", lambda _: Blender(("none",), "4.5.1 LTS"))
    return seeds


def render(tmp_path, *arguments, settings=TINY):
    (tmp_path / "s.json").write_text(json.dumps(settings))
    return main(["render", "--settings", str(tmp_path / "s.json"), "--profile", "preview", "--quiet", *map(str, arguments)])


def test_nothing_is_tried_again_where_there_is_no_data_set(tmp_path, rendered, capsys):
    mine = tmp_path / "x" / "quarantine" / "mine.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("{}")
    assert render(tmp_path, "--count", 1, "--out", tmp_path / "x", "--retry-quarantined") == 1
    assert "not a data set" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "x").rglob("*")] == ["quarantine", "mine.json"]


def test_images_are_tried_again_only_once_the_folder_is_known_to_be_ours(tmp_path, rendered, capsys):
    out = tmp_path / "d"
    assert render(tmp_path, "--count", 2, "--seed", 3, "--out", out) == 0
    skipped, mine = out / "quarantine" / "0000000000.json", out / "quarantine" / "note.json"
    skipped.parent.mkdir()
    skipped.write_text('{"image_id": 0, "reason": "x"}')
    mine.write_text("{}")
    assert render(tmp_path, "--count", 2, "--seed", 5, "--out", out, "--retry-quarantined") == 1
    assert "holds another data set" in capsys.readouterr().err
    assert skipped.exists()
    assert render(tmp_path, "--count", 2, "--seed", 3, "--out", out, "--retry-quarantined") == 0
    assert not skipped.exists()
    assert mine.exists()


def test_damage_is_cleared_up_only_after_all_is_looked_at(tmp_path):
    data_set(tmp_path / "a", 20)
    data_set(tmp_path / "b", 20, seed=4)
    first, second = (tmp_path / "a" / "shards" / f"0000000{i}.parquet" for i in range(2))
    first.write_bytes(first.read_bytes()[:-9])  # damaged
    second.write_bytes((tmp_path / "b" / "shards" / "00000001.parquet").read_bytes())  # of another data set
    with pytest.raises(DataError, match="another data set"):
        opened(tmp_path / "a", 20)
    assert first.exists()
    assert second.exists()


def test_only_own_files_are_cleared_up(tmp_path):
    folder = data_set(tmp_path, 5)
    mine = [folder / ".notes.tmp", folder / "shards" / ".x.tmp", folder / "shards" / "00000000.partial" / "mine.txt"]
    mine[2].parent.mkdir()
    for path in mine:
        path.write_text("x")
    left = folder / "shards" / f".00000000.parquet.{'0' * 16}.tmp"
    left.write_text("x")
    opened(folder, 5).close()
    assert all(p.exists() for p in mine)
    assert not left.exists()


def versions(**changes):
    return {"versions": {"blender": "4.5.1", "recipe": "1", **changes}}


def test_other_versions_that_draw_other_pictures_are_refused_unless_mixing_is_allowed(tmp_path):
    with opened(tmp_path, 2, **versions()) as writer:
        writer.keep(record(0))
    for change in ({"blender": "4.5.15"}, {"recipe": "2"}):
        with pytest.raises(InputError, match=f"{next(iter(change))} .*--allow-mixed"):
            opened(tmp_path, 2, **versions(**change))
    with opened(tmp_path, 2, **versions(blender="4.5.15"), allow_mixed=True) as writer:
        writer.keep(record(1))
        writer.finish(0)
    assert_holds(tmp_path, [0, 1])
    with contextlib.closing(ShardFile(tmp_path / "shards" / "00000000.parquet")) as file:
        assert [v["blender"] for v in file.metadata["made_with"]] == ["4.5.1", "4.5.15"]
    manifest = Manifest.load(tmp_path)
    assert [v["blender"] for v in manifest.history] == ["4.5.1", "4.5.15"]
    assert all({"pcs_render", "pyarrow", "recipe"} <= set(v) for v in manifest.history)
    opened(tmp_path, 2, **versions(blender="4.5.20")).close()  # nothing is left to be made
    assert len(Manifest.load(tmp_path).history) == 2


def test_the_recipe_of_worker_and_scenes_is_recorded(tmp_path, monkeypatch):
    job = production.Job.of(SMALL, PROFILES["preview"], seed=3)
    production.create_or_resume(tmp_path, job, 2, blender="4.5.1").close()
    assert {"recipe", "scenes", "blender"} <= set(Manifest.load(tmp_path).history[0])
    monkeypatch.setattr(production, "RECIPE", profile.RECIPE + 1)
    with pytest.raises(InputError, match="recipe"):
        production.create_or_resume(tmp_path, job, 2, blender="4.5.1")
    production.create_or_resume(tmp_path, job, 2, blender="4.5.1", allow_mixed=True).close()


def test_manifests_of_before_are_resumed(tmp_path):
    data_set(tmp_path, 20, validation=7)
    path = tmp_path / "manifest.json"
    content = json.loads(path.read_text())
    before = Reader(tmp_path, "validation").ids.tolist()
    del content["validation_ids"], content["history"]
    path.write_text(json.dumps(content))
    assert Reader(tmp_path, "validation").ids.tolist() == before
    with opened(tmp_path, 30, **versions(blender="0")) as writer:  # recipe 1 was not recorded
        assert to_make(writer) == list(range(20, 30))
        writer.write_shard(2, map(record, range(20, 30)))
    assert Reader(tmp_path, "validation").ids.tolist() == before


@pytest.mark.parametrize("validation", [10, 0.1])
def test_a_set_that_grows_keeps_its_images_for_validation(tmp_path, validation):
    data_set(tmp_path, 100, validation=validation)
    before = set(Reader(tmp_path, "validation").ids.tolist())
    data_set(tmp_path, 400)
    after = set(Reader(tmp_path, "validation").ids.tolist())
    assert {i for i in after if i < 100} == before
    assert len(after) == 10 if validation == 10 else 20 < len(after) < 60
    data_set(tmp_path, 400, validation=60)
    more = set(Reader(tmp_path, "validation").ids.tolist())
    assert len(more) == 60
    assert after < more or len(after) > 60


@pytest.mark.parametrize("seed", range(8))
def test_ten_images_have_one_for_validation(tmp_path, seed):
    data_set(tmp_path, 10, seed=seed, validation=0.03)
    assert len(Reader(tmp_path, "validation")) >= 1
    assert len(Reader(tmp_path, "validation", 0.001)) == 1
    assert len(Reader(tmp_path, "validation", 0.0)) == 0


def test_rows_that_were_not_written_together_are_found(tmp_path):
    data_set(tmp_path, 5, crystals=2)
    path = tmp_path / "shards" / "00000000.parquet"
    table, metadata = pq.read_table(path), pq.ParquetFile(path).metadata.metadata
    for column in ("png", "scene", "depth"):
        turned = table.set_column(
            table.column_names.index(column), table.schema.field(column), table[column].take([1, 0, 2, 3, 4])
        )
        with pq.ParquetWriter(path, turned.schema) as writer:
            writer.write_table(turned, row_group_size=8)
            writer.add_key_value_metadata({k: v for k, v in metadata.items() if k.startswith(b"pcs")})
        manifest = json.loads((tmp_path / "manifest.json").read_text())
        from pcs_render.shards.data_set import file_digest

        manifest["shards"][0]["bytes"], manifest["shards"][0]["sha256"] = file_digest(path)
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        report = verify(tmp_path)
        assert not report.ok, column
        assert "image 0" in str(report)


def test_a_new_set_draws_its_seed_and_resuming_takes_it(tmp_path, rendered, capsys):
    assert render(tmp_path, "--count", 1, "--out", tmp_path / "train") == 0
    assert render(tmp_path, "--count", 1, "--out", tmp_path / "val") == 0
    assert render(tmp_path, "--count", 2, "--out", tmp_path / "train") == 0
    train, val = (Manifest.load(tmp_path / n).seed for n in ("train", "val"))
    assert train != val
    assert rendered == [train, val, train]
    assert f"seed {train}" in capsys.readouterr().out


def test_the_same_images_twice_are_pointed_out(tmp_path):
    data_set(tmp_path / "train", 5)
    data_set(tmp_path / "val", 5)
    data_set(tmp_path / "other", 5, seed=9)
    with pytest.warns(UserWarning, match="same images"):
        PcsShards([tmp_path / "train", tmp_path / "val"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PcsShards([tmp_path / "train", tmp_path / "other"])


def test_a_shape_file_may_move(tmp_path, rendered, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    for place in ("box.obj", "elsewhere/box.obj"):
        obj.save(place, habits.shapes(Settings(shapes="cube")))
    for count, place in enumerate(("box.obj", "./box.obj", str(tmp_path / "elsewhere" / "box.obj")), 1):
        assert render(tmp_path, "--count", count, "--out", "d", settings={**TINY, "shapes": place}) == 0, place
    assert verify("d").ok
    assert {json.loads(r.scene)["settings"] for r in Reader("d").records()} == {Manifest.load("d").settings_hash}


def test_settings_added_since_do_not_make_another_data_set(tmp_path):
    job = production.Job.of(SMALL, PROFILES["preview"], seed=3)
    production.create_or_resume(tmp_path, job, 2, blender="4.5.1").close()
    path = tmp_path / "manifest.json"
    content = json.loads(path.read_text())
    assert "bright_field" not in content["settings"]
    every = dataclasses.asdict(Manifest.load(tmp_path)) | {"settings": json.loads(json.dumps(job.settings.to_dict()))}
    content["settings"] = every["settings"]
    content["settings_hash"] = Manifest(**{k: v for k, v in every.items() if k != "shards"}).settings_hash
    path.write_text(json.dumps(content))
    production.create_or_resume(tmp_path, job, 2, blender="4.5.1").close()


def test_scenes_of_other_settings_seed_or_number_are_refused(tmp_path, capsys):
    for name, ratio in (("a", [1, 1.5]), ("b", [4, 5])):
        (tmp_path / f"{name}.json").write_text(json.dumps({**TINY, "aspect_ratio": ratio}))

    def scenes(name, *arguments):
        command = ["scenes", "--settings", str(tmp_path / f"{name}.json"), "--out", str(tmp_path / "m"), "--quiet"]
        return main([*command, *arguments])

    assert scenes("a", "--count", "4") == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()}
    for arguments, message in (
        (("b", "--count", "3"), "settings"),
        (("b", "--count", "4"), "settings"),
        (("a", "--count", "3"), "scene 3"),
        (("a", "--count", "4", "--seed", "77"), "seed"),
    ):
        assert scenes(*arguments) == 1
        assert message in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()} == before
    assert scenes("a", "--count", "6") == 0
    assert len(list((tmp_path / "m").glob("0*.json"))) == 6


def test_images_without_crystals_are_pointed_out(tmp_path, rendered, capsys):
    nothing_fits = {**TINY, "depth": 1e-9, "max_crystals": 1}
    assert render(tmp_path, "--count", 1, "--out", tmp_path / "r", settings=nothing_fits) == 0
    assert "no image shows a crystal" in capsys.readouterr().err
    assert (
        main(["scenes", "--settings", str(tmp_path / "s.json"), "--count", "1", "--out", str(tmp_path / "s"), "--quiet"]) == 0
    )
    out, err = capsys.readouterr()
    assert "1 scene," in out
    assert "pcs-render: warning: 1 of them show no crystal" in err


def test_limits_reach_the_renderer(tmp_path, rendered, monkeypatch):
    import argparse

    assert commands._limits(argparse.Namespace(time_limit=5, memory_limit=6)) == {"patience": 5, "memory_limit": 6}
    assert render(tmp_path, "--count", 1, "--out", tmp_path / "r", "--time-limit", 99, "--memory-limit", 100) == 0
