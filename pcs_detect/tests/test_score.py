"""Scores of found crystals against labels, on cases that can be computed by hand."""

import argparse
import base64
import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcs_detect.boxes import corners
from pcs_detect.commands import score as command
from pcs_detect.crystals.tables import crystal_table, write_table
from pcs_detect.errors import DataError, InputError
from pcs_detect.evaluation.score import figures, match, read_found, score_table, together
from pcs_detect.labels.truth import Truth, annotated_box, read_truths

A, B, C = [50, 50, 40, 20, 0.0], [150, 50, 40, 20, 0.5], [50, 150, 40, 20, 1.0]


def truth(*boxes, ignored=(), region=None):
    return Truth(np.array(boxes, float).reshape(-1, 5), np.array(ignored, float).reshape(-1, 5), region)


def shifted(box, part):
    """As large, but moved along its longer side so that the IoU is ``part``."""
    along = box[2] * (1 - part) / (1 + part)
    return [box[0] + along * math.cos(box[4]), box[1] + along * math.sin(box[4]), *box[2:]]


def test_perfect_boxes_score_one():
    found = figures(match([A, B, C], [0.9, 0.8, 0.7], truth(A, B, C)))
    assert (found["AP50"], found["AP"], found["precision"], found["recall"]) == (1, 1, 1, 1)
    assert (found["crystals"], found["found"], found["width_error"], found["height_error"]) == (3, 3, 0, 0)
    assert found["score"] == 0.7  # the lowest of the score with the best F1


def test_half_of_the_crystals_with_one_false_box_between():
    """Hits at ranks 1 and 3, four labels: precision 1, 1/2, 2/3; recall 1/4, 1/4, 1/2."""
    labels = truth(A, B, C, [250, 250, 40, 20, 0])
    found = figures(match([A, [300, 50, 40, 20, 0], B], [0.9, 0.8, 0.7], labels))
    recalls = np.linspace(0, 1, 101)
    assert found["AP50"] == pytest.approx(((recalls <= 0.25).sum() + 2 / 3 * ((recalls > 0.25) & (recalls <= 0.5)).sum()) / 101)
    assert (found["precision"], found["recall"], found["score"]) == (pytest.approx(2 / 3), 0.5, 0.7)


@pytest.mark.parametrize(("iou", "levels"), [(0.49, 0), (0.51, 1), (0.61, 3), (0.74, 5), (0.96, 10)])
def test_the_iou_decides_at_how_many_thresholds_a_box_is_a_hit(iou, levels):
    found = figures(match([shifted(B, iou)], [0.9], truth(B)))
    assert found["AP"] == pytest.approx(levels / 10)
    assert found["AP50"] == (1 if levels else 0)


def test_a_label_is_taken_once_and_by_the_higher_score():
    found = figures(match([shifted(A, 0.81), A], [0.9, 0.8], truth(A)))
    assert found["AP50"] == 1
    assert found["found"] == 2
    assert found["AP"] == pytest.approx((7 * 1 + 3 * 0.5) / 10)  # up to 0.8 the first is a hit, beyond only the second


def test_errors_are_of_the_longer_and_the_shorter_side():
    found = figures(match([[50, 50, 44, 18, 0], [150, 50, 36, 20, 0.5]], [0.9, 0.8], truth(A, B)))
    assert found["width_error"] == pytest.approx(0.1)
    assert found["width_bias"] == pytest.approx(0)
    assert found["height_error"] == pytest.approx(0.05)
    assert found["height_bias"] == pytest.approx(-0.05)


def test_what_is_ignored_counts_neither_way():
    elsewhere, part, little = [300, 50, 40, 20, 0], [300, 100, 40, 20, 0], [300, 150, 40, 20, 0]
    ignored = [[300, 50, 60, 60, 0], [290, 100, 20, 20, 0], [284, 150, 11, 20, 0]]  # all, half, 7.5 / 40 of the boxes
    labels = truth(A, ignored=ignored, region=(0, 0, 400, 180))
    outside, inside = [50, 190, 40, 20, 0], [50, 170, 40, 20, 0]
    matched = match([A, elsewhere, part, little, outside, inside], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], labels)
    assert matched.scores.tolist() == [0.9, 0.6, 0.4]
    assert match([A], [0.9], truth(A, ignored=[A], region=(100, 100, 200, 200))).hits.all()  # a hit counts anywhere


def test_nothing_found_or_nothing_labelled():
    assert figures(match([], [], truth(A)))["AP50"] == 0
    nothing = figures(match([A], [0.9], truth()))
    assert (nothing["AP50"], nothing["recall"], nothing["precision"]) == (0, 0, 0)
    assert math.isnan(figures(match([], [], truth()))["score"])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_all_photographs_together_are_as_one_of_all(seed):
    """Of photographs side by side on one plane."""
    rng = np.random.default_rng(seed)
    parts, boxes, scores, labels = [], [], [], []
    for k in range(3):
        true = np.column_stack(
            [rng.uniform(0, 300, (6, 2)), rng.uniform(20, 60, 6), rng.uniform(10, 20, 6), rng.uniform(-1, 1, 6)]
        )
        near = true[: rng.integers(0, 7)] + rng.normal(0, 2, 5) * [1, 1, 1, 1, 0.02]
        score = rng.permutation(100)[: len(near)] / 100 + k / 1000
        parts.append(match(near, score, Truth(true)))
        move = np.array([1000 * k, 0, 0, 0, 0])
        boxes, scores, labels = [*boxes, *(near + move)], [*scores, *score], [*labels, *(true + move)]
    whole = figures(match(np.array(boxes).reshape(-1, 5), scores, Truth(np.array(labels))))
    assert figures(together(parts)) == pytest.approx(whole, nan_ok=True)


def table(name, boxes, scores):
    return crystal_table(name, boxes, scores, np.zeros(len(boxes), bool))


def layout(path, entries):
    made = {}
    for name, labels in entries.items():
        made[name] = {"width": 400, "height": 300, "crystals": corners(labels.crystals).tolist(),
                      "ignore": corners(labels.ignored).tolist(), "region": labels.region}  # fmt: skip
    path.write_text(json.dumps(made))
    return path


def test_a_table_has_a_row_for_each_photograph_for_all_and_the_mean(tmp_path):
    found = pd.concat([table("a.png", [A, [300, 50, 40, 20, 0]], [0.9, 0.5]), table("b.png", [B], [0.4])])
    truths = {"a.png": truth(A), "b.png": truth(B, C)}
    rows = score_table(found, truths).set_index("image")
    assert list(rows.index) == ["a.png", "b.png", "all", "mean"]
    assert rows["crystals"].tolist()[:3] == [1, 2, 3]
    assert rows["AP50"]["a.png"] == 1
    assert rows["AP50"]["b.png"] == pytest.approx(51 / 101)
    assert rows["AP50"]["mean"] == pytest.approx((1 + 51 / 101) / 2)
    assert rows["recall"]["all"] == pytest.approx(2 / 3)


def labelme(path, name, shapes):
    path.parent.mkdir(exist_ok=True)
    every = [{"label": label, "points": points, "shape_type": kind} for label, points, kind in shapes]
    path.write_text(json.dumps({"shapes": every, "imagePath": f"..\\ph\\{name}", "imageData": base64.b64encode(b"").decode()}))


def test_every_layout_of_labels_gives_the_same_figures(tmp_path):
    wanted = truth(A, B, ignored=[C], region=(10, 10, 300, 200))
    outline = corners(np.array([A, B, C]))
    layout(tmp_path / "labels.json", {"a.png": wanted})
    shapes = [("crystal", outline[0].tolist(), "polygon"), ("crystal", outline[1].tolist(), "rotation")]
    shapes += [("ignore", outline[2].tolist(), "polygon"), ("region", [[10, 10], [300, 200]], "rectangle")]
    labelme(tmp_path / "labelme" / "a.json", "a.png", [*shapes, ("crystal", [[1, 1]], "point")])
    flat = outline.reshape(3, 1, 8).tolist()
    notes = [{"image_id": 7, "segmentation": s, "bbox": [0, 0, 1, 1], "iscrowd": int(k == 2)} for k, s in enumerate(flat)]
    images = [{"id": 7, "file_name": "ph/a.png", "width": 400, "height": 300}]
    (tmp_path / "coco.json").write_text(json.dumps({"images": images, "annotations": notes}))
    boxes = [[*b[:4], -math.degrees(b[4])] for b in (A, B)]
    published = [{"image_id": 7, "bbox": b} for b in boxes] + [{"image_id": 7, "bbox": [1, 2]}]
    (tmp_path / "pcs.json").write_text(json.dumps({"images": images, "annotations": published}))
    found = table("a.png", [A, shifted(B, 0.7), C], [0.9, 0.8, 0.7])
    write_table(found, tmp_path / "crystals.csv")
    expected = None
    for name, wrong in (("labels.json", 0), ("labelme", 1), ("coco.json", 0), ("pcs.json", 1)):
        truths, left = read_truths(tmp_path / name)
        assert len(left) == wrong, left
        crystals, truths, missing = read_found(tmp_path / "crystals.csv", truths)
        assert missing == []
        rows = score_table(crystals, truths).set_index("image")
        assert rows.index[0] in ("a.png", "ph/a.png")
        assert rows["AP50"]["all"] == 1
        if name in ("labels.json", "labelme"):  # the others know of no region
            expected = rows.loc["all"].to_dict() if expected is None else expected
            assert rows.loc["all"].to_dict() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("angle", [0, 30, 90, 135, -20])
def test_a_turned_upright_box_of_cvat_is_turned(angle):
    box = annotated_box({"bbox": [100, 80, 80, 20], "segmentation": [], "attributes": {"rotation": angle}})
    assert box[:4] == pytest.approx([140, 90, 80, 20])
    assert math.sin(box[4] - math.radians(angle)) == pytest.approx(0, abs=1e-9)


def test_crowds_written_as_text_are_told_from_crystals(tmp_path):
    box = {"image_id": 1, "bbox": [0, 0, 9, 4]}
    notes = [{**box, "iscrowd": crowd} for crowd in ("0", "1", 0, 1, False, "")]
    (tmp_path / "labels.json").write_text(json.dumps({"images": [{"id": 1, "file_name": "a.png"}], "annotations": notes}))
    truths, left = read_truths(tmp_path / "labels.json")
    assert (len(truths["a.png"].crystals), len(truths["a.png"].ignored), left) == (4, 2, [])


def test_photographs_are_matched_by_their_names(tmp_path):
    write_table(table("a.png", [A], [0.9]), tmp_path / "crystals.csv")
    images = pd.DataFrame({"image": ["a.png", "b.png", "c.png"], "error": ["", "", "damaged"]})
    write_table(images, tmp_path / "images.csv")
    truths = {"a": truth(A), "day1/b.png": truth(B), "c.png": truth(C), "d.png": truth(A)}
    _, found, left = read_found(tmp_path, truths)
    assert list(found) == ["a.png", "b.png"]
    assert left == ["c.png is labelled, but could not be read", "d.png is labelled, but is not among the photographs"]
    with pytest.raises(DataError, match=r"none of the 1 labelled photographs \(z\.png\)"):
        read_found(tmp_path, {"z.png": truth(A)})


def test_a_folder_of_predict_without_crystals_has_a_recall_of_0(tmp_path):
    write_table(table("", [], []), tmp_path / "crystals.csv")
    write_table(pd.DataFrame({"image": ["a.png"], "height_px": 300, "width_px": 400, "error": [None]}), tmp_path / "images.csv")
    crystals, found, left = read_found(tmp_path, {"a.png": truth(A, B)}, 0.1)
    assert left == []
    rows = score_table(crystals, found).set_index("image")
    assert (rows["recall"]["a.png"], rows["AP50"]["all"], rows["crystals"]["all"]) == (0, 0, 2)


def test_what_is_no_labels_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for name, text, words in (
        ("a.json", "{", "not valid JSON"),
        ("b.json", "[]", "no labels"),
        ("c.json", '{"a.png": 3}', "no labels of a photograph"),
        ("d.json", '{"shapes": []}', "give the folder"),
        ("e.json", '{"images": [3]}', "without id"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=words):
            read_truths(tmp_path / name)
    with pytest.raises(DataError, match="no Labelme files"):
        read_truths(tmp_path / "empty")
    with pytest.raises(DataError, match="cannot be read"):
        read_truths(tmp_path / "absent.json")


def run(*words):
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    args = parser.parse_args(["score", *map(str, words)])
    args.run(args, list(map(str, words)))


@pytest.mark.parametrize("name", ["crystals.csv", "images.csv", "link.csv", "labels.parquet"])
def test_figures_never_replace_what_is_read(tmp_path, name):
    write_table(table("a.png", [A], [0.9]), tmp_path / "crystals.csv")
    write_table(pd.DataFrame({"image": ["a.png"], "error": [None]}), tmp_path / "images.csv")
    (tmp_path / "link.csv").symlink_to(tmp_path / "crystals.csv")
    labels = layout(tmp_path / "labels.parquet", {"a.png": truth(A)})  # whatever they are called
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for crystals in (tmp_path, tmp_path / "crystals.csv"):
        with pytest.raises(InputError, match="is read, and would be replaced"):
            run(crystals, labels, "--out", tmp_path / name)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["groups_template.csv", "other.csv", "overlays/other.csv"])
def test_figures_do_not_go_into_a_folder_of_results(tmp_path, name):
    (tmp_path / "found" / "overlays").mkdir(parents=True)
    write_table(table("a.png", [A], [0.9]), tmp_path / "found" / "crystals.csv")
    (tmp_path / "found" / "settings.json").write_text('{"program": "predict"}')
    labels = layout(tmp_path / "labels.json", {"a.png": truth(A)})
    with pytest.raises(InputError, match=r"holds results of predict or sizes.*--out"):
        run(tmp_path / "found", labels, "--out", tmp_path / "found" / name)
    assert not (tmp_path / "found" / name).exists()


def test_the_command_prints_and_writes(tmp_path, capsys):
    write_table(table("a.png", [A], [0.9]), tmp_path / "crystals.csv")
    labels = layout(tmp_path / "labels.json", {"a.png": truth(A, B)})
    run(tmp_path / "crystals.csv", labels, "--out", tmp_path / "score.csv")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["crystals", "a.png", "all", "mean"]
    assert lines[1].split()[1:4] == ["2", "1", "0.505"]
    assert pd.read_csv(tmp_path / "score.csv")["recall"].tolist() == [0.5, 0.5, 0.5]
