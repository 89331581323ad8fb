"""JSON files, read block by block, give what reading them whole gives."""

import gzip
import json
import subprocess
import sys
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from batches import SAMPLE
from hypothesis import given, settings
from hypothesis import strategies as st

import pcs_augment as pa
from pcs_augment import json_labels


@contextmanager
def streaming(block):
    """The text comes in blocks of so many bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_labels, "BLOCK", block)
        yield


@contextmanager
def whole():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_labels, "stream", lambda *_: None)
        yield


def content(path, how, **options):
    """Everything a data set says, bit by bit, or the error."""
    with how:
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                data = pa.PCSDataset(path, images=path.parent, **options)
        except pa.DataError as e:
            return str(e)
    out = [data.image_ids.tolist(), data.file_names, data.sizes, data.categories]
    for i in range(len(data)):
        target = data.target(i)
        assert target["boxes"].dtype == torch.float32
        assert target["labels"].dtype == torch.int64
        numbers = torch.cat([target["boxes"].flatten(), *(p.flatten() for p in target["polygons"])])
        out += [numbers.view(torch.int32).tolist(), target["labels"].tolist(), [len(p) for p in target["polygons"]]]
    return [*out, data.skipped, [str(w.message) for w in told]]


def assert_same(path, block, **options):
    expected = content(path, whole(), **options)
    assert content(path, streaming(block), **options) == expected
    return expected


def written(path, text):
    path.write_bytes(gzip.compress(text, 1) if path.suffix == ".gz" else text)
    return path


space = st.text(" \n\r\t", max_size=2)
digits = st.text("0123456789", min_size=1, max_size=20)
plain_numbers = st.one_of(
    st.integers(-(10**4), 10**4).map(str),
    st.floats(-500, 500).map(lambda v: repr(round(v, 2))),
    st.floats(-500, 500).map(repr),
    st.sampled_from(["-0", "-0.0", "0", "0.0", "1e2", "2.5E-1", "7e+0", "0.000000000000000000000001", "9007199254740993"]),
    st.builds("{}{}.{}".format, st.sampled_from(["", "-"]), st.integers(0, 999), digits),
    st.builds("{}{}e{}".format, st.integers(1, 9), st.just(""), st.integers(-30, 2)),
)
sides = st.one_of(
    st.floats(0.1, 300).map(lambda v: repr(round(v, 1))), st.integers(1, 99).map(str), st.floats(1e-3, 9).map(repr)
)
strange = st.sampled_from(
    ['"x"', '"a\\"}]b"', '"\\u0041"', '"é"', "true", "false", "null", "1.5", "[]", "{}", '{"a": [1, "]"]}', "[[1]]"]
)


@st.composite
def listed(draw, items, brackets="[]"):
    gaps = [draw(space) for _ in range(len(items) + 1)]
    return brackets[0] + gaps[0] + ",".join(a + i for a, i in zip(gaps[1:], items)) + draw(space) + brackets[1]


@st.composite
def annotations(draw, number):
    outline = draw(st.lists(plain_numbers, min_size=6, max_size=14).filter(lambda v: len(v) % 2 == 0))
    fields = {
        "id": draw(st.one_of(st.just(str(number)), st.sampled_from(['"seven"', "null", "1.5", "-3"]))),
        "image_id": draw(st.sampled_from(["7", "3", "-12"])),
        "category_id": draw(st.sampled_from(["1", "5"])),
        "bbox": draw(listed([draw(plain_numbers), draw(plain_numbers), draw(sides), draw(sides), draw(plain_numbers)])),
        "segmentation": draw(listed([draw(listed(outline))])),
        "iscrowd": "0",
    }
    kind = draw(st.integers(0, 11))
    if kind == 0:
        fields["segmentation"] = draw(st.sampled_from(["[]", "null", "[ ]"]))
    elif kind == 1:
        fields["iscrowd"] = draw(st.sampled_from(["1", "true", "false", "null", "0.0", "-1", '""']))
    elif kind == 2:
        del fields[draw(st.sampled_from(["segmentation", "iscrowd", "id"]))]
    elif kind == 3:
        fields |= {"iscrowd": "1", "segmentation": '{"counts": [1, 2], "size": [3, 4]}'}
    elif kind == 4:
        fields |= {"bbox": "[1, 2, 30, 40]", "segmentation": draw(st.sampled_from(["[[1, 1, 9, 2, 7, 8]]", "[]"]))}
    elif kind == 5:
        fields["segmentation"] = "[[1, 1, 9, 2, 7, 8], [20, 20, 24, 20, 24, 25]]"
    for key in draw(st.lists(st.sampled_from(["area", "note", "score", "attributes"]), unique=True, max_size=2)):
        fields[key] = draw(strange)
    pairs = [f'"{k}"{draw(space)}:{draw(space)}{fields[k]}{draw(space)}' for k in draw(st.permutations(list(fields)))]
    return draw(listed(pairs, "{}"))


@st.composite
def documents(draw):
    rows = [draw(annotations(i)) for i in range(draw(st.integers(0, 5)))]
    parts = {
        "images": '[{"id": 7, "file_name": "a.png"}, {"id": -12, "file_name": "annotations"}, {"id": 3, "file_name": "[\\"é"}]',
        "categories": '[{"id": 5, "name": "x"}, {"id": 1, "name": "y"}]',
        "annotations": draw(listed(rows)),
        "info": '{"annotations": [1], "description": "}{ \\\\"}',
    }
    pairs = [f'"{k}"{draw(space)}:{draw(space)}{parts[k]}' for k in draw(st.permutations(list(parts)))]
    return (draw(space) + draw(listed(pairs, "{}")) + draw(space)).encode()


blocks = st.sampled_from([1, 2, 3, 7, 16, 61, 500, 10**6])


@settings(max_examples=150)
@given(documents(), blocks, st.sampled_from(["data.json", "data.json.gz"]), st.booleans())
def test_same_data_set_bit_by_bit(tmp_path_factory, text, block, name, shifted):
    path = written(tmp_path_factory.getbasetemp() / name, text)
    assert isinstance(assert_same(path, block, published_labels=shifted), list)


@settings(max_examples=200)
@given(documents(), blocks, st.randoms(use_true_random=False))
def test_a_damaged_document_is_refused_alike(tmp_path_factory, text, block, random):
    """One byte left out, put in or replaced: both refuse it, or both read the same."""
    i = random.randrange(len(text))
    new = bytes([random.choice(b'{}[]:,"\\ 0123456789.eE+-tfn\0\xff')])
    text = random.choice([text[:i] + text[i + 1 :], text[:i] + new + text[i:], text[:i] + new + text[i + 1 :]])
    path = written(tmp_path_factory.getbasetemp() / "damaged.json", text)
    expected, found = content(path, whole()), content(path, streaming(block))
    assert type(found) is type(expected), (expected, found)
    if isinstance(expected, list):
        assert found == expected


@st.composite
def any_numbers(draw):
    """Up to 40 digits and any power of ten that float64 has."""
    count = draw(st.integers(1, 40))
    text = str(draw(st.integers(0, 10**count - 1)))
    decimals = draw(st.integers(0, 40 - len(text)))
    if decimals:
        text += "." + draw(st.text("0123456789", min_size=decimals, max_size=decimals))
    power = draw(st.sampled_from(["", "", f"e{draw(st.integers(-290, 37 - len(text)))}", "E+3", "e-07"]))
    return draw(st.sampled_from(["", "-"])) + text + power


@settings(max_examples=200)
@given(st.lists(any_numbers(), min_size=40, max_size=40))
def test_numbers_to_the_last_bit(tmp_path_factory, numbers):
    row = f'{{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 1, 0], "segmentation": [[{", ".join(numbers)}]]}}'
    text = f'{{"images": [{{"id": 1, "file_name": "a"}}], "categories": [{{"id": 1}}], "annotations": [{row}]}}'
    path = written(tmp_path_factory.getbasetemp() / "numbers.json", text.encode())
    with streaming(10**6), pytest.MonkeyPatch.context() as patch:
        patch.setattr(pa.coco_json, "annotation", None)
        points = pa.PCSDataset(path, images=path.parent).target(0)["polygons"][0]
    expected = np.array(json.loads(f"[{', '.join(numbers)}]"), np.float64).astype(np.float32)
    assert np.array_equal(points.numpy().ravel().view(np.int32), expected.view(np.int32))


def test_the_sample_needs_no_second_reading(monkeypatch):
    expected = content(SAMPLE, whole())
    monkeypatch.setattr(pa.coco_json, "annotation", None)  # it reads what has another form
    for block in (100, 4096, 10**7):
        assert content(SAMPLE, streaming(block)) == expected
    assert sum(map(len, expected[5::3])) == 682


def test_annotations_in_any_order_of_images(tmp_path):
    document = json.loads(SAMPLE.read_bytes())
    np.random.default_rng(0).shuffle(document["annotations"])
    expected = assert_same(written(tmp_path / "data.json", json.dumps(document).encode()), 5000)
    assert [sorted(v) for v in expected[6::3]] == [sorted(v) for v in content(SAMPLE, whole())[6::3]]
    targets = [[] for _ in document["images"]]
    for a in document["annotations"]:
        targets[[e["id"] for e in document["images"]].index(a["image_id"])].append(len(a["segmentation"][0]) // 2)
    assert expected[6::3] == targets


CRYSTAL = {"image_id": 7, "category_id": 1, "iscrowd": 0, "bbox": [10, 8, 6, 2, 30.0], "segmentation": [[8, 9, 12, 7, 9, 10]]}
GOOD = {
    "images": [{"id": 7, "file_name": "a.png"}],
    "categories": [{"id": 1, "name": "Crystal"}],
    "annotations": [{"id": 1, **CRYSTAL}, {"id": 2, **CRYSTAL}],
}


def with_second(**changes):
    first, second = GOOD["annotations"]
    return GOOD | {"annotations": [first, second | changes]}


@pytest.mark.parametrize("block", [10, 10**6])
@pytest.mark.parametrize(
    "document",
    [
        [],
        {"images": []},
        GOOD | {"images": [{"id": "x"}]},
        GOOD | {"images": GOOD["images"] * 2},
        GOOD | {"images": [{"id": 2**70, "file_name": "a"}]},
        GOOD | {"annotations": [1]},
        GOOD | {"annotations": {}},
        GOOD | {"annotations": None},
        with_second(image_id=99),
        with_second(image_id=7.0),
        with_second(image_id=2**63),
        with_second(image_id=True),
        with_second(category_id=2),
        with_second(category_id="1"),
        with_second(bbox=[1, 2, 3], segmentation=[]),
        with_second(bbox=[1, 2, 0, 3, 0], segmentation=[]),
        with_second(bbox=[1, 2, 3, 3, 0, 9], segmentation=[]),
        with_second(bbox=[1, 2, None, 3, 0], segmentation=[]),
        with_second(bbox=[1, 2, float("nan"), 3, 0], segmentation=[]),
        with_second(bbox=[1, 2, float("inf"), 3, 0], segmentation=[]),
        with_second(bbox="wide", segmentation=[]),
        with_second(bbox=None, segmentation=[]),
        with_second(segmentation=[[1, 2, 3, 4]]),
        with_second(segmentation=[[1, 2, 3, 4, 5, 6, 7]]),
        with_second(segmentation={"counts": 3}),
        with_second(bbox=[0, 0, 4, 4], segmentation=[[1, 1, 2, 2, 3, 3]]),
    ],
)
def test_wrong_documents_get_the_same_message(tmp_path, document, block):
    path = written(tmp_path / "data.json", json.dumps(document).encode())
    assert_same(path, block)  # skipped alike
    assert isinstance(assert_same(path, block, strict=True), str)


def test_unknown_images_are_named_with_the_annotation(tmp_path):
    message = assert_same(written(tmp_path / "data.json", json.dumps(with_second(image_id=99)).encode()), 100)
    assert "annotation 2 names image 99 and category 1" in message


def test_names_written_twice_or_with_escapes(tmp_path):
    text = json.dumps(GOOD)
    for changed in (
        text[:-1] + ', "annotations": []}',
        text[:-1] + ', "annotations": [{"id": 3}]}',
        text.replace('"annotations"', '"\\u0061nnotations"'),
        text[:-1] + ', "\\u0061nnotations": []}',
        text.replace('"image_id"', '"image\\u005fid"'),
        text.replace('"id": 1,', '"id": 1, "image_id": 99,', 1),
        text.replace('"iscrowd": 0', '"iscrowd": 0, "iscrowd": 1', 1),
    ):
        assert changed != text
        assert_same(written(tmp_path / "data.json", changed.encode()), 50)
    for encoding in ("utf-8-sig", "utf-16", "utf-32-le"):
        assert isinstance(assert_same(written(tmp_path / "data.json", text.encode(encoding)), 50), list)


@pytest.mark.parametrize("block", [13, 10**6])
def test_a_cut_off_text_is_not_valid(tmp_path, block):
    text = json.dumps(with_second(attributes={"a": "}"})).encode()
    path = tmp_path / "data.json"
    for length in range(len(text)):
        path.write_bytes(text[:length])
        with streaming(block), pytest.raises(pa.DataError, match="not valid JSON"):
            pa.PCSDataset(path, images=tmp_path)


def test_cut_off_compressed_files_cannot_be_read(tmp_path):
    packed = gzip.compress(SAMPLE.read_bytes(), 1)
    path = tmp_path / "data.json.gz"
    for length in (12, 100, len(packed) // 2, len(packed) - 20, len(packed) - 8, len(packed) - 1):
        path.write_bytes(packed[:length])
        for how in (streaming(1000), streaming(10**7), whole()):
            with how, pytest.raises(pa.DataError, match="cannot be read"):
                pa.PCSDataset(path, images=tmp_path)
    for place in (2000, len(packed) - 6):
        path.write_bytes(packed[:place] + bytes([packed[place] ^ 255]) + packed[place + 1 :])
        with streaming(1000), pytest.raises(pa.DataError):
            pa.PCSDataset(path, images=tmp_path)
    path.write_bytes(
        packed[:0] + gzip.compress(SAMPLE.read_bytes()[:5000]) + gzip.compress(SAMPLE.read_bytes()[5000:]) + bytes(9)
    )
    assert content(path, streaming(1000)) == content(SAMPLE, whole())


def test_memory_stays_near_that_of_the_labels(tmp_path):
    """What the data set holds and some blocks; read whole, this one takes 0.6 GB."""
    document = json.loads(SAMPLE.read_bytes())
    text = json.dumps(document.pop("annotations"))[1:-1]
    head = json.dumps(document)[:-1] + ', "annotations": ['
    path = written(tmp_path / "data.json", (head + ", ".join([text] * 400) + "]}").encode())
    assert path.stat().st_size > 80e6
    script = """if True:
        import sys
        import pcs_augment as pa
        def peak():  # getrusage would count the parent's memory
            return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024
        images, small, large = sys.argv[1:]
        pa.PCSDataset(small, images=images)
        before = peak()
        data = pa.PCSDataset(large, images=images)
        print(peak() - before, sum(data._corners))
    """
    call = [sys.executable, "-c", script, tmp_path, SAMPLE, path]
    done = subprocess.run(list(map(str, call)), check=True, capture_output=True, text=True, timeout=100)
    grown, corners = map(int, done.stdout.split())
    assert corners == 400 * sum(sum(n) for n in content(SAMPLE, whole())[6::3])
    assert grown < 200e6, grown
