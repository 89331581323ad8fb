"""What people write into settings, profiles and shape files, and the cache of shapes."""

import io
import itertools
import json
import tarfile
import warnings

import numpy as np
import pytest
from PIL import Image
from records import data_set

from pcs_render import habits
from pcs_render.cli import main
from pcs_render.errors import DataError, InputError
from pcs_render.export import webdataset
from pcs_render.habits import cache, collect, obj
from pcs_render.profile import load_profile
from pcs_render.report.coco import Document
from pcs_render.settings import Settings, load_settings, settings_from

CORNERS = np.array(list(itertools.product((-2.0, 2.0), (-1.0, 1.0), (-1.0, 1.0))))
FACES = ["1 2 4 3", "5 7 8 6", "1 5 6 2", "3 4 8 7", "1 3 7 5", "2 6 8 4"]


def read(tmp_path, text):
    path = tmp_path / "s.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_settings(path)


def test_numbers_of_yaml_are_those_that_people_mean(tmp_path):
    text = "tolerance_size: 1e-1\nmax_crystals: 1e2\narea: [16, 1e3]\ndepth: +1.5E1\nf_stop: .5\nshape_seed: 9007199254740993"
    settings = read(tmp_path, text)
    assert (settings.tolerance_size, settings.max_crystals, settings.area) == (0.1, 100, (16.0, 1000.0))
    assert (settings.depth, settings.f_stop, settings.shape_seed) == (15.0, 0.5, 2**53 + 1)
    with pytest.raises(InputError, match="'0140'; it takes a whole number"):
        read(tmp_path, "width: 0140")
    for text in ("width: 1e2.5", "depth: .inf", "depth: .nan", "depth: 1:30", "max_crystals: 1e-1", "depth: 1e999"):
        with pytest.raises(InputError, match="it takes a"):
            read(tmp_path, text)


@pytest.mark.parametrize("text", ["width: 96\nheight: 96\nwidth: 97", '{"width": 96, "width": 97}'])
def test_a_name_that_stands_twice_is_refused(tmp_path, text):
    with pytest.raises(DataError, match="'width' stands twice"):
        read(tmp_path, text)


def test_a_profile_with_a_name_twice_is_refused(tmp_path):
    (tmp_path / "p.json").write_text('{"samples": 8, "samples": 16}')
    with pytest.raises(DataError, match="'samples' stands twice"):
        load_profile(tmp_path / "p.json")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_of_other_editors(tmp_path, encoding):
    assert read(tmp_path, "shapes: Kästen.obj".encode(encoding)).shapes == "Kästen.obj"
    with pytest.raises(DataError, match="neither YAML nor JSON"):
        read(tmp_path, b"shapes: K\xe4sten.obj")


@pytest.mark.parametrize(("width", "height"), [(96, 96), (8, 8), (200, 200), (384, 96), (64, 384), (300, 300), (1024, 1024)])
def test_an_image_size_alone_is_enough(width, height):
    settings = settings_from({"width": width, "height": height})
    assert settings.area[0] == 4
    if width * height >= 16384 and np.hypot(width, height) >= 384:  # where the defaults are possible they stay
        assert settings == Settings(width=width, height=height)
    else:
        assert settings.area[1] == width * height / 9
        assert settings.long_side == max(width, height)
    with pytest.raises(InputError, match="long_side"):
        settings_from({"width": 96, "height": 96, "area": [4, 1024]})  # half of it was chosen: the other half is asked for


def test_an_image_that_no_crystal_fits_into_is_refused():
    with pytest.raises(InputError, match="covered"):
        settings_from({"covered": [1e-6, 1e-5]})


def write(path, corners, faces=(), groups=False, mark=b""):
    lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in np.asarray(corners).tolist()]
    for i, face in enumerate(faces):
        lines += [f"g side{i}"] if groups else []
        lines.append(f"f {face}")
    path.write_bytes(mark + "\n".join(lines).encode())
    return path


@pytest.mark.parametrize("faces", [(), FACES])
def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path, faces):
    (shape,) = obj.load(write(tmp_path / "b.obj", CORNERS, faces, mark=b"\xef\xbb\xbf"))
    assert {tuple(v) for v in shape.vertices.tolist()} == {tuple(v) for v in CORNERS.tolist()}


def test_groups_may_be_sides_of_one_body(tmp_path):
    (shape,) = obj.load(write(tmp_path / "b.obj", CORNERS, FACES, groups=True))
    assert len(shape.vertices) == 8
    with pytest.raises(DataError, match="is no body"):
        obj.load(write(tmp_path / "open.obj", CORNERS, FACES[1:], groups=True))


@pytest.mark.parametrize("scale", [1e-160, 1e-110, 1e-14, 1e7, 1e9, 1e90])
def test_shapes_of_impossible_size_are_refused(tmp_path, scale):
    for faces in ((), FACES):
        with pytest.raises(DataError, match="units across"):
            obj.load(write(tmp_path / "b.obj", CORNERS * scale, faces))


def test_shapes_of_odd_size_are_pointed_out(tmp_path):
    for scale in (1e-9, 0.01, 1000.0, 1e6):
        with pytest.warns(UserWarning, match="far from 2 units"):
            obj.load(write(tmp_path / "b.obj", CORNERS * scale))
    for scale in (0.1, 1.0, 20.0):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            obj.load(write(tmp_path / "b.obj", CORNERS * scale))


def test_shapes_are_kept_and_are_those_that_were_made(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "FEWEST", 5)
    collect._collection.cache_clear()
    made = habits.collection(8, 3)
    (file,) = (tmp_path / "pcs-render").iterdir()

    def forbidden(*_):
        raise AssertionError("made again")

    with monkeypatch.context() as patch:
        patch.setattr(collect, "_shape", forbidden)
        for count in (8, 5):
            collect._collection.cache_clear()
            kept = habits.collection(count, 3)
            for a, b in zip(made[:count], kept, strict=True):
                assert (a.name, a.kind, a.point_group) == (b.name, b.kind, b.point_group)
                assert np.array_equal(a.vertices, b.vertices)
                assert not b.vertices.flags.writeable
    whole = file.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole.replace(made[0].vertices[:1].tobytes(), bytes(24)), b"PK" + whole[9:]):
        file.write_bytes(damaged)
        collect._collection.cache_clear()
        assert [s.name for s in habits.collection(8, 3)] == [s.name for s in made]
        assert file.read_bytes() == whole
    collect._collection.cache_clear()


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(cache, "FEWEST", 1)
    collect._collection.cache_clear()
    assert len(habits.collection(2, 3)) == 2
    collect._collection.cache_clear()


def test_a_small_set_has_a_tar_for_every_worker(tmp_path, capsys):
    data_set(tmp_path / "set", 40, validation=10)
    done = webdataset(tmp_path / "set", tmp_path / "out")
    assert len(list((tmp_path / "out").glob("train-*.tar"))) >= 16
    assert sum(e.images for e in done) == 40
    command = ["export", str(tmp_path / "set"), "--format", "webdataset", "--quiet", "--out", str(tmp_path / "two")]
    assert main([*command, "--per-tar", "20"]) == 0
    assert len(list((tmp_path / "two").glob("*.tar"))) == 3
    assert main([*command[:3], "coco", *command[4:], "--per-tar", "20"]) == 1
    assert "--per-tar" in capsys.readouterr().err


def test_a_damaged_tar_is_written_again_and_a_whole_one_left(tmp_path):
    data_set(tmp_path / "set", 12, validation=2)
    webdataset(tmp_path / "set", tmp_path / "out", per_tar=5)
    tars = sorted((tmp_path / "out").glob("*.tar"))
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tars}
    first, second = tars[:2]
    first.write_bytes(b"damaged")
    second.write_bytes(before[second][0] + b"\0")
    webdataset(tmp_path / "set", tmp_path / "out", per_tar=5)
    assert {p: p.read_bytes() for p in tars} == {p: content for p, (content, _) in before.items()}
    assert all(p.stat().st_mtime_ns == before[p][1] for p in tars[2:])
    with tarfile.open(fileobj=io.BytesIO(first.read_bytes())) as tar:
        assert len(tar.getnames()) == 10


def test_a_part_without_images_is_pointed_out(tmp_path, capsys):
    data_set(tmp_path / "set", 5)
    assert main(["export", str(tmp_path / "set"), "--format", "yolo", "--out", str(tmp_path / "out"), "--quiet"]) == 0
    assert "pcs-render: warning: the part validation has no image" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "export.json").read_text())["export"]["images"]["validation"] == 0


def test_files_of_other_tools_are_reported_as_they_are_trained_on(tmp_path):
    square = {"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 8], "segmentation": []}
    annotations = [
        square,
        square | {"iscrowd": "0"},
        square | {"iscrowd": "1"},
        square | {"bbox": [5, 5, 0, 10]},
        square | {"bbox": [5, 5, 0, 10], "segmentation": [[5, 5, 25, 5, 25, 15]]},
        square | {"attributes": {"rotation": 30}},
    ]
    entry = {"id": 1, "file_name": "a.png", "width": "40", "height": "60"}
    path = tmp_path / "data.json"
    rows = [{"id": k, **a} for k, a in enumerate(annotations, 1)]
    path.write_text(json.dumps({"images": [entry], "categories": [{"id": 1}], "annotations": rows}))
    with pytest.warns(UserWarning, match="1 annotations cannot be used and are skipped: annotation 4"):
        document = Document(path)
    assert document.counts.tolist() == [4]
    assert document.sizes == {(40, 60): 1}
    np.testing.assert_allclose(document.boxes[:, 2:4], [[20, 8], [20, 8], [20, 10], [20, 8]], atol=1e-6)
    assert document.boxes[3, 4] == pytest.approx(np.radians(30))
    assert document.shape(0) == (60, 40)
    stored = np.zeros((40, 60), np.uint8)
    stored[:4, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "store").mkdir()
    (tmp_path / "data").mkdir()
    Image.fromarray(stored).save(tmp_path / "store" / "blob", "png", exif=exif)
    (tmp_path / "data" / "a.png").symlink_to(tmp_path / "store" / "blob")
    pixels = document.pixels(0, tmp_path / "data")
    assert pixels.shape == (60, 40)
    assert pixels[0, -1] == 255
