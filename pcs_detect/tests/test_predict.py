import argparse
import json

import cv2
import numpy as np
import pandas as pd
import pytest
from fixed_network import FixedNetwork
from PIL import Image
from pycocotools.coco import COCO

from pcs_detect import cli
from pcs_detect.boxes import corners
from pcs_detect.commands import predict as command
from pcs_detect.crystals.tables import COLUMNS, read_table
from pcs_detect.errors import DataError, InputError
from pcs_detect.inference import batch
from pcs_detect.inference import detector as module
from pcs_detect.inference.detector import Detector
from pcs_detect.overlaps import overlapping_pairs


def photograph(height=300, width=420, seed=0, count=25, least=8, most=60):
    """Grey pixels, and the boxes of its bright crystals, none nearer than 4 px to another or to the border."""
    rng = np.random.default_rng(seed)
    pixels, taken, boxes = np.full((height, width), 60, np.uint8), np.zeros((height, width), np.uint8), []
    while len(boxes) < count:
        w = rng.uniform(least, most)
        box = [rng.uniform(0, width), rng.uniform(0, height), w, max(w * rng.uniform(0.2, 1), 4), rng.uniform(-1.57, 1.57)]
        outline = (corners([box])[0] - 0.5).round().astype(np.int32)
        if (outline < 4).any() or (outline > (width - 5, height - 5)).any():
            continue
        mask = cv2.fillPoly(np.zeros_like(pixels), [outline], 1)
        if not (cv2.dilate(mask, np.ones((9, 9), np.uint8)) & taken).any():
            pixels[mask > 0] = rng.integers(180, 250)
            taken |= mask
            boxes.append(box)
    return pixels, np.array(boxes)


def boxes_of(table):
    angle = np.radians(table["angle_deg"])
    return np.stack([table["x_px"], table["y_px"], table["width_px"], table["height_px"], angle], -1)


def in_places(table):
    """Without the numbers, which follow the scores, of which some are as good as equal."""
    return table.sort_values(["x_px", "y_px"], ignore_index=True).drop(columns="crystal")


def all_found(table, boxes, iou):
    """Whether every box has its own row and every row its box."""
    i, j, _ = overlapping_pairs(boxes, boxes_of(table), iou)
    return sorted(i) == list(range(len(boxes))) and sorted(j) == list(range(len(table)))


def detector(network=None, **options):
    return Detector(network or FixedNetwork(), **{"score": 0.05, **options})


def test_three_lines_find_the_crystals_of_a_photograph(tmp_path):
    pixels, boxes = photograph()
    Image.fromarray(pixels).save(tmp_path / "drop.png")
    crystals = detector().predict(tmp_path / "drop.png", um_per_px=0.84)
    assert tuple(crystals.columns) == COLUMNS
    assert all_found(crystals, boxes, 0.6)
    assert set(crystals.image) == {"drop.png"}
    np.testing.assert_allclose(crystals.width_um, crystals.width_px * 0.84)
    assert not crystals.at_border.any()
    pd.testing.assert_frame_equal(detector().predict(pixels, 0.84, "drop.png"), crystals)


@pytest.mark.parametrize("seed", range(3))
def test_the_result_depends_on_neither_tiles_nor_batches(seed):
    pixels, _ = photograph(seed=seed)
    whole = in_places(detector(tile=None).predict(pixels))
    for tile, overlap, at_once in ((160, 80, 1), (192, 96, 3), (256, 70, 2), (300, 100, 8)):
        tiled = detector(tile=tile, overlap=overlap, batch_size=at_once).predict(pixels)
        pd.testing.assert_frame_equal(in_places(tiled), whole, rtol=1e-4, atol=1e-3)


class Divided(FixedNetwork):
    """Refuses sides that its strides do not divide, as networks without a padding of their own do."""

    def find(self, images):
        assert all(side % self.divisor == 0 for image in images for side in image.shape)
        return super().find(images)


@pytest.mark.parametrize("divisor", [1, 8, 32, 64])
def test_tiles_of_any_size_suit_the_strides_of_the_network(divisor):
    pixels, _ = photograph()
    whole = in_places(detector(Divided(divisor=divisor), tile=None).predict(pixels))
    for tile in (200, 250, 300):
        cut = detector(Divided(divisor=divisor), tile=tile, overlap=70)
        assert (cut.tile, cut.settings["tile"]) == (tile // divisor * divisor, cut.tile)
        pd.testing.assert_frame_equal(in_places(cut.predict(pixels)), whole, rtol=1e-4, atol=1e-3)
    with pytest.raises(InputError, match="tiles of 64 px that overlap by 30 px"):
        detector(Divided(divisor=64), tile=100, overlap=30)


def test_a_step_that_tiles_cannot_keep_is_refused_unless_photographs_are_seen_whole():
    pixels, boxes = photograph()
    with pytest.raises(InputError, match=r"divisor is 48 px, which tiles cannot keep; it must divide 64, or give tile=None"):
        detector(Divided(divisor=48))
    assert all_found(detector(Divided(divisor=48), tile=None).predict(pixels), boxes, 0.6)


def test_what_tiles_cut_is_left_out_with_a_warning():
    pixels = np.full((200, 600), 60, np.uint8)
    pixels[90:110, 40:560] = 200
    pixels[20:40, 40:80] = 200
    with pytest.warns(UserWarning, match=r"left out \d+ pieces.*overlap of 60 px"):
        crystals = detector(tile=160, overlap=60).predict(pixels)
    assert len(crystals) == 1
    assert crystals.width_px[0] == pytest.approx(40, abs=0.1)
    assert len(detector(tile=None).predict(pixels)) == 2


@pytest.mark.parametrize("scale", [0.5, 0.73, 2.0])
def test_a_photograph_that_is_scaled_for_the_detector_gives_sizes_of_the_original(scale):
    pixels, boxes = photograph(least=25, most=70, count=12)
    crystals = detector(scale=scale, tile=320, overlap=220).predict(pixels)
    assert all_found(crystals, boxes, 0.6)


def test_crystals_at_the_border_are_flagged_and_all_lie_in_the_photograph():
    pixels = np.full((203, 301), 60, np.uint8)  # no multiples of 32: what is added at the end must add nothing
    pixels[50:70, :30] = pixels[100:120, 271:] = pixels[180:, 90:100] = pixels[50:70, 100:130] = pixels[2:10, 200:230] = 200
    crystals = detector().predict(pixels).sort_values("x_px")
    assert list(crystals.at_border) == [True, True, False, False, True]
    assert crystals.x_px.between(0, 301).all()
    assert crystals.y_px.between(0, 203).all()


def test_grey_values_are_matched_to_those_of_the_training():
    """A dark photograph, in which nothing would be bright: only matching shows the crystals, and the score says to what."""
    pixels, boxes = photograph(count=10)
    dark = (pixels // 10).astype(np.uint8)
    assert len(detector(grey="none").predict(dark)) == 0
    assert len(detector(grey="shift").predict(dark)) == 0  # contrast stays as it is
    assert all_found(detector(grey="scale").predict(dark), boxes, 0.6)
    bright = np.minimum(pixels.astype(np.uint16) + 100, 65535)
    for dtype, white in ((np.uint16, 255), (np.float32, 255)):
        found = detector(white=white).predict(np.minimum(bright, 255).astype(dtype))
        assert found.score.max() < 0.2 * (255 - np.minimum(bright, 255).mean()) / 50 + 1e-3


def test_score_is_the_least_that_is_reported():
    pixels, _ = photograph()
    every = detector(score=0).predict(pixels)
    limit = float(every.score.median())
    kept = detector(score=limit).predict(pixels)
    pd.testing.assert_frame_equal(kept, every[every.score >= limit])


def test_an_image_without_crystals_is_an_empty_table():
    crystals = detector().predict(np.full((50, 70), 90, np.uint8))
    assert tuple(crystals.columns) == COLUMNS
    assert len(crystals) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"score": 1.5},
        {"iou": -0.1},
        {"scale": 0},
        {"scale": [0.5, 1.0]},
        {"batch_size": 0},
        {"white": -1},
        {"grey": "clahe"},
        {"tile": 40},
    ],
)
def test_wrong_arguments_are_errors_that_name_them(wrong):
    (value,) = wrong.values()
    with pytest.raises(InputError, match="amp" if value is True else str(value)):
        detector(**wrong)


def folder_of_photographs(folder, count=3):
    folder.mkdir()
    for i in range(count):
        pixels, _ = photograph(120, 160, seed=i, count=4 + i, most=30)
        Image.fromarray(pixels).save(folder / f"drop_{i}.png")
    return folder


def test_a_folder_becomes_tables_labels_and_pictures(tmp_path):
    photographs = folder_of_photographs(tmp_path / "photographs")
    Image.fromarray(np.zeros((60, 80), np.uint8)).save(photographs / "empty.png")
    found = detector()
    out = tmp_path / "out"
    table = batch.predict_folder(found, photographs, out, um_per_px=2, parquet=True, command=["predict", "a b"])
    for name in ("crystals.csv", "crystals.parquet"):
        pd.testing.assert_frame_equal(read_table(out / name), table, rtol=1e-5, check_dtype=False)
    assert table.groupby("image").size().to_dict() == {"drop_0.png": 4, "drop_1.png": 5, "drop_2.png": 6}
    images = pd.read_csv(out / "images.csv").set_index("image")
    assert list(images.index) == ["drop_0.png", "drop_1.png", "drop_2.png", "empty.png"]
    assert list(images.crystals) == [4, 5, 6, 0]
    assert list(images.width_px) == [160, 160, 160, 80]
    assert list(images.height_px) == [120, 120, 120, 60]
    assert (images.um_per_px == 2).all()
    assert images.error.isna().all()
    assert (images.seconds >= 0).all()
    coco = COCO(out / "coco.json")
    labels = json.loads((out / "detections.json").read_text())
    assert [i["file_name"] for i in labels["images"]] == list(images.index)
    for i, name in enumerate(images.index):
        expected = boxes_of(table[table.image == name])
        written = [a["bbox"] for a in labels["annotations"] if a["image_id"] == i + 1]
        np.testing.assert_allclose(np.reshape(written, (-1, 5))[:, :4], expected[:, :4], atol=1e-3)
        shown = coco.loadAnns(coco.getAnnIds(i + 1))
        upright = corners(expected)
        assert [a["bbox"] for a in shown] == [pytest.approx([*p.min(0), *np.ptp(p, axis=0)], abs=2e-3) for p in upright]
        with Image.open(out / images.overlay[name]) as picture:
            assert picture.size == (images.width_px[name], images.height_px[name])
            green = (np.asarray(picture).astype(int) @ [-1, 2, -1] > 150).sum()
        assert (green > 0) == (len(expected) > 0)
    settings = json.loads((out / "settings.json").read_text())
    assert settings["command"] == "predict 'a b'"
    assert settings["settings"] == found.settings
    assert settings["checkpoint"]["file"] == "fixed.onnx"
    assert len(settings["checkpoint"]["sha256"]) == 64
    assert {"python", "numpy", "pillow"} <= settings["versions"].keys()


def test_a_damaged_photograph_stops_nothing_and_is_named(tmp_path, capsys):
    photographs = folder_of_photographs(tmp_path / "photographs")
    (photographs / "drop_1.png").write_bytes(b"not yet copied")
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"1 of 3 photographs could not be read: drop_1\.png"):
        batch.predict_folder(detector(), photographs, out)
    assert "drop_1.png" in capsys.readouterr().err
    images = pd.read_csv(out / "images.csv").set_index("image")
    assert images.error.notna().to_dict() == {"drop_0.png": False, "drop_1.png": True, "drop_2.png": False}
    assert np.isnan(images.crystals["drop_1.png"])
    assert set(read_table(out / "crystals.csv").image) == {"drop_0.png", "drop_2.png"}
    Image.fromarray(photograph(120, 160, count=3, most=30)[0]).save(photographs / "drop_1.png")
    assert len(batch.predict_folder(detector(), photographs, out)) == 4 + 3 + 6


def test_what_is_left_out_names_its_file_and_the_one_that_is_to_blame(tmp_path, capsys):
    """Floating point that reaches 5 leaves open which level is white, for all of its series."""
    import tifffile

    pixels, _ = photograph(120, 160, count=3, most=30)
    sound = (pixels / 510).astype(np.float32)
    (tmp_path / "a").mkdir()
    tifffile.imwrite(tmp_path / "a" / "sound.tif", sound)
    tifffile.imwrite(tmp_path / "a" / "bright.tif", sound * (5 / sound.max()))
    tifffile.imwrite(tmp_path / "a" / "holes.tif", np.where(pixels > 100, np.nan, sound))
    with pytest.raises(DataError, match="3 of 3 photographs could not be read"):
        batch.predict_folder(detector(), tmp_path / "a", tmp_path / "out", overlays=False)
    errors = pd.read_csv(tmp_path / "out" / "images.csv").set_index("image").error
    told = capsys.readouterr().err
    for name, words in {
        "bright.tif": "its levels reach 5, which no camera has as white; say which level is white (--white)",
        "sound.tif": "photographs of one folder, kind and size share one level of white, which bright.tif leaves open: its "
        "levels reach 5, which no camera has as white; say which level is white (--white)",
        "holes.tif": "an image with grey values that are no finite numbers",
    }.items():
        assert errors[name] == f"{tmp_path / 'a' / name}: {words}"
        assert f"left out: {errors[name]}\n" in told


def test_a_run_that_stopped_goes_on_and_finds_the_same(tmp_path, monkeypatch):
    photographs = folder_of_photographs(tmp_path / "photographs")
    whole = batch.predict_folder(detector(), photographs, tmp_path / "whole")
    looked = []
    plain = Detector.detect

    def interrupted(self, grey):
        if len(looked) == 2:
            raise KeyboardInterrupt
        looked.append(grey)
        return plain(self, grey)

    monkeypatch.setattr(Detector, "detect", interrupted)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        batch.predict_folder(detector(), photographs, out)
    assert not (out / "crystals.csv").exists()
    monkeypatch.setattr(Detector, "detect", lambda self, grey: looked.append(grey) or plain(self, grey))
    pd.testing.assert_frame_equal(batch.predict_folder(detector(batch_size=2), photographs, out), whole)
    assert len(looked) == 3
    (out / "overlays" / "drop_0.png.png").unlink()
    Image.fromarray(photograph(120, 160, count=3, most=30)[0]).save(photographs / "drop_3.png")
    again = batch.predict_folder(detector(), photographs, out, um_per_px=0.5)
    assert len(looked) == 4  # the new one; a lost picture is drawn from what is known
    assert (out / "overlays" / "drop_0.png.png").exists()
    assert len(again) == len(whole) + 3
    assert again.width_um.notna().all()


def test_other_settings_do_not_mix_with_what_is_there(tmp_path):
    photographs = folder_of_photographs(tmp_path / "photographs", 1)
    out = tmp_path / "out"
    batch.predict_folder(detector(), photographs, out, overlays=False)
    assert not (out / "overlays").exists()
    with pytest.raises(InputError, match=r"score was 0.05, is 0.99.*--overwrite"):
        batch.predict_folder(detector(score=0.99), photographs, out)
    other = FixedNetwork(0.3)
    with pytest.raises(InputError, match="checkpoint was"):
        batch.predict_folder(detector(other), photographs, out)
    assert len(batch.predict_folder(detector(score=0.99), photographs, out, overwrite=True)) == 0
    (out / "settings.json").unlink()
    with pytest.raises(InputError, match="nothing there says that pcs-detect predict wrote it"):
        batch.predict_folder(detector(), photographs, out, overwrite=True)


def test_the_command_writes_and_tells(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "open_network", lambda *_, **__: FixedNetwork())
    photographs = folder_of_photographs(tmp_path / "photographs", 2)

    def run(*words):
        def work():
            parser = argparse.ArgumentParser(prog="pcs-detect")
            command.add(parser.add_subparsers(required=True))
            given = ["predict", *map(str, words), "--out", str(tmp_path / "out"), "--device", "cpu", "--score", "0.05"]
            args = parser.parse_args([*given, "--checkpoint", "any"])
            args.run(args, given)

        return cli.guarded("pcs-detect", work), *capsys.readouterr()

    status, told, complaint = run(photographs, "--um-per-px", "0.84", "--no-overlays")
    assert (status, told, complaint) == (0, f"{tmp_path / 'out'}: 9 crystals, 0 of them at the border\n", "")
    assert read_table(tmp_path / "out" / "crystals.csv").width_um.gt(0).all()
    (tmp_path / "none").mkdir()
    status, _, complaint = run(tmp_path / "none")
    assert status == 1
    assert complaint.startswith(f"pcs-detect: error: {tmp_path / 'none'}: no images there")
    for wrong in (("--scale", "0"), ("--score", "2"), ("--um-per-px", "wide"), ("--grey", "clahe")):
        status, _, complaint = run(photographs, *wrong)
        assert status == 2
        assert wrong[0] in complaint


def test_tiles_are_for_networks_that_see_pixels_as_they_are():
    """Mask R-CNN fits what it is given into its own size."""
    fitting = FixedNetwork(tiled=False)
    assert Detector(FixedNetwork()).tile == 1536
    assert Detector(fitting).tile is None
    assert Detector(fitting, tile=512).tile == 512
    assert Detector(FixedNetwork(), tile=None).tile is None


def test_thumbnails_that_are_passed_over_are_told(tmp_path, capsys):
    import tifffile

    pixels, _ = photograph(count=3)
    for name, pages in {"a.tif": (pixels, pixels[::4, ::4]), "b.tif": (pixels, pixels[:-9])}.items():
        with tifffile.TiffWriter(tmp_path / name) as file:
            for page in pages:
                file.write(page, metadata=None)
    batch.predict_folder(detector(), tmp_path, tmp_path / "out", overlays=False)
    assert list(pd.read_csv(tmp_path / "out" / "images.csv").image) == ["a.tif", "b.tif#0001", "b.tif#0002"]
    assert "passed over: 1 page of the shape of a larger one and at most half its size" in capsys.readouterr().err


def test_the_scale_of_the_file_is_taken_unless_another_is_given(tmp_path):
    import tifffile

    pixels, _ = photograph(count=5)
    metadata = {"unit": "micron", "axes": "TYX"}
    tifffile.imwrite(tmp_path / "a.tif", np.stack([pixels] * 3), imagej=True, resolution=(2.0, 2.0), metadata=metadata)
    found = detector().predict(tmp_path / "a.tif#0003")
    np.testing.assert_allclose(found.width_um, found.width_px / 2)
    np.testing.assert_allclose(detector().predict(tmp_path / "a.tif#0003", 3.0).width_um, found.width_px * 3)
    assert detector().predict(pixels).width_um.isna().all()
