"""Reports: test statistics against SciPy's, samples from every kind of data set, and a page that stands alone."""

import base64
import dataclasses
import gzip
import io
import json
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import scipy.stats
from PIL import Image

from pcs_render import draw, export, generate, report
from pcs_render import statistics as S
from pcs_render.errors import DataError, OutputError
from pcs_render.geometry import min_area_rect
from pcs_render.labels import labels
from pcs_render.report import Analysis, Sample, coco, figures
from pcs_render.settings import Settings
from pcs_render.shards import Reader, Record, Writer

UNBIASED = Settings(rule="unbiased")
PUBLISHED = Settings()


def boxes_of(areas, ratios, angles, settings=PUBLISHED):
    """Boxes (N, 5) of areas px^2, aspect ratios, angles in degrees counter-clockwise, in the middle of the image."""
    w = np.sqrt(areas * ratios)
    middle = np.full((len(w), 2), (settings.width / 2, settings.height / 2))
    theta = (-np.radians(angles) + np.pi / 2) % np.pi - np.pi / 2
    return np.column_stack([middle, w, w / ratios, theta])


def drawn(settings, n, seed=0):
    """Targets (N, 4) from the model: area, ratio, angle, cap."""
    random = np.random.default_rng(seed)
    caps = np.full(n, settings.area[1])
    if settings.rule == "published":
        caps = random.permutation(S.simulate(settings, 500, seed).caps)[:n]
    low = settings.area[0]
    areas = low * (caps / low) ** random.random(n)
    limit = np.minimum(settings.aspect_ratio[1], settings.long_side**2 / areas)
    return np.column_stack([areas, 1 + (limit - 1) * random.random(n), random.uniform(-90, 90, n), caps])


def sample_of(targets, settings, known=True, **changes):
    boxes = boxes_of(*targets[:, :3].T, settings)
    counts = np.array([len(boxes)])
    values = {"targets": targets, "unmet": np.zeros((0, 4)), "covered": np.array([[0.2, 0.19]])} if known else {}
    return Sample("made up", settings, boxes, counts, **{**values, **changes})


def verdicts(sample):
    return {(t.quantity, t.of): t.passed for t in Analysis(sample).tests}


@pytest.mark.parametrize("settings", [UNBIASED, PUBLISHED])
def test_distances_are_those_of_scipy(settings):
    a = Analysis(sample_of(drawn(settings, 700), settings))
    found = {(t.quantity, t.of): t.agreement for t in a.tests}
    areas, ratios, angles, caps = a.drawn.T
    uniform = scipy.stats.uniform.cdf
    expected = {
        ("aspect ratio", "labels"): (a.ratios, a.model.ratio_cdf),
        ("angle", "labels"): (a.angles, lambda x: uniform(x, -90, 180)),
        ("log area", "labels"): (np.log(a.areas), lambda x: a.model.area_cdf(np.exp(x))),
        ("aspect ratio", "targets drawn"): (ratios, a.model.ratio_cdf),
        ("angle", "targets drawn"): (angles, lambda x: uniform(x, -90, 180)),
        ("log area", "targets drawn"): (np.log(areas), lambda x: a.model.area_cdf(np.exp(x))),
        ("log area, between its limits", "targets drawn"): (S.uniform_areas(areas, caps, settings), uniform),
        ("aspect ratio, between its limits", "targets drawn"): (S.uniform_ratios(ratios, areas, settings), uniform),
    }
    assert found.keys() == expected.keys()
    for key, (values, cdf) in expected.items():
        assert found[key].statistic == pytest.approx(scipy.stats.kstest(values, cdf).statistic, abs=1e-5), key
        assert found[key].n == 700


@pytest.mark.parametrize("settings", [UNBIASED, PUBLISHED])
@pytest.mark.parametrize("known", [True, False])
def test_the_models_own_numbers_agree_with_it(settings, known):
    """Without the caps the model takes simulated ones; these crystals have such caps."""
    assert all(verdicts(sample_of(drawn(settings, 4000, seed=5), settings, known)).values())


WRONG = {
    "aspect ratio": lambda t, u: (t[0], 1 + 9 * u**1.2, t[2]),
    "angle": lambda t, u: (t[0], t[1], 100 * (u - 0.5)),
    "log area": lambda t, u: (4 + 16380 * u, np.minimum(t[1], 384**2 / (4 + 16380 * u)), t[2]),
}


@pytest.mark.parametrize("settings", [UNBIASED, PUBLISHED])
@pytest.mark.parametrize("quantity", WRONG)
def test_another_distribution_is_told(settings, quantity):
    t = drawn(settings, 3000, seed=1)
    t[:, :3] = np.column_stack(WRONG[quantity](t.T, np.random.default_rng(2).random(3000)))
    failed = {q for (q, of), passed in verdicts(sample_of(t, settings, known=False)).items() if not passed}
    assert quantity in failed
    assert failed <= {quantity, "aspect ratio"}  # the area limits the ratio


def test_one_rule_is_not_the_other():
    assert not verdicts(sample_of(drawn(UNBIASED, 8000), PUBLISHED, known=False))["log area", "labels"]
    assert not verdicts(sample_of(drawn(PUBLISHED, 8000), UNBIASED, known=False))["log area", "labels"]


@pytest.mark.parametrize("settings", [UNBIASED, PUBLISHED])
def test_area_classes_hold_all_area_and_scatter_as_predicted(settings):
    off = []
    for seed in range(30):
        a = Analysis(sample_of(drawn(settings, 2000, seed), settings))
        c = a.area_classes
        assert c.total.sum() == pytest.approx(a.areas.sum())
        assert c.relative.mean() == pytest.approx(1)
        off.append((c.total - c.expected) / c.deviation)
    assert np.abs(np.mean(off, 0)).max() < 4 / np.sqrt(30)
    assert 0.85 < np.std(off) < 1.15
    if settings.rule == "unbiased":
        assert c.expected == pytest.approx(np.full(16, c.expected[0]), rel=1e-4)
    else:
        assert (np.diff(c.expected) < 0).all()


def test_deviations_are_box_less_target():
    targets = drawn(UNBIASED, 50)
    sample = sample_of(targets, UNBIASED)
    moved = boxes_of(targets[:, 0] * 1.21, targets[:, 1] + 0.1, targets[:, 2] + 1.5)
    found = Analysis(dataclasses.replace(sample, boxes=moved)).deviations
    assert found["size"] == pytest.approx(0.1 * np.sqrt(targets[:, 0]))
    assert found["ratio"] == pytest.approx(0.1)
    assert found["angle"] == pytest.approx(1.5)


def test_what_is_given_up_counts_as_drawn():
    targets, unmet = drawn(UNBIASED, 400), np.tile([16000.0, 9.0, 0.0, 16384.0], (100, 1))
    a = Analysis(sample_of(targets, UNBIASED, unmet=unmet))
    missed, tried = a.given_up(0, np.array([4, 15999, 16384]))
    assert missed.tolist() == [0, 100]
    assert tried.sum() == 500
    assert a.tests[3].agreement.n == 500
    below = (targets[:, 0] < 16000).mean()
    assert a.shifts["log area"] == pytest.approx(below - below * 400 / 500, abs=1e-9)


def test_size_classes_by_box_area():
    areas = np.array([4, 63.9, 64, 576, 576.1, 9000])
    assert draw.size_classes(boxes_of(areas, np.full(6, 2.0), np.zeros(6))).tolist() == [0, 0, 1, 1, 2, 2]
    assert Analysis(sample_of(np.column_stack([areas, *np.full((3, 6), 2.0)]), UNBIASED)).by_class == {
        "small": 2,
        "medium": 2,
        "large": 2,
    }


def test_corners_enclose_the_box_they_came_from():
    for box in boxes_of(*drawn(UNBIASED, 40)[:, :3].T):
        assert min_area_rect(draw.corners(box)[0]) == pytest.approx(tuple(box), abs=1e-6)


def test_outlines_are_drawn_where_the_polygons_are():
    grey = np.full((40, 60), 100, np.uint8)
    square = np.array([[10, 5], [50, 5], [50, 35], [10, 35]])
    out = draw.outlined(grey, [square], [(255, 0, 0)])
    y, x = np.nonzero((out != 100).any(-1))
    edge = np.minimum.reduce([np.abs(x + 0.5 - s) for s in (10, 50)] + [np.abs(y + 0.5 - s) for s in (5, 35)])
    assert edge.max() <= 1
    assert {4, 5, 34, 35} >= {y.min(), y.max()}
    assert {9, 10, 49, 50} >= {x.min(), x.max()}
    assert (out[5:35, 9:11, 0].max(1) > 150).all()
    assert (out[12:30, 14:45] == 100).all()
    assert draw.outlined(grey, [square], scale=2).shape == (80, 120, 3)
    assert (grey == 100).all()


def test_a_sheet_holds_every_image_once():
    images = [np.full((10 + i, 20), i, np.uint8) for i in range(7)]
    out = draw.sheet(images, columns=3, gap=2)
    assert out.shape == (3 * 16 + 2 * 2, 3 * 20 + 2 * 2, 3)
    assert [(out == i).all(-1).sum() for i in range(7)] == [i.size for i in images]
    assert draw.sheet([]).shape == (1, 1, 3)


@pytest.fixture(scope="module")
def scenes(shapes):
    settings = Settings(rule="unbiased", width=128, height=128, area=(4, 2000), long_side=128, covered=(0.05, 0.2))
    return settings, [generate.scene(settings, 3, image, shapes) for image in range(12)]


@pytest.fixture(scope="module")
def data_set(scenes, tmp_path_factory):
    """A folder of shards with these scenes, the last image without crystals."""
    settings, made = scenes
    folder = tmp_path_factory.mktemp("data") / "set"
    random = np.random.default_rng(0)
    records = []
    for scene in made:
        if scene.image == 11:
            scene = dataclasses.replace(scene, crystals=(), models={})
        found = labels(scene)
        picture = io.BytesIO()
        Image.fromarray(random.integers(90, 160, (128, 128), dtype=np.uint8)).save(picture, "PNG")
        polygons = [p.astype(np.float32) for p in found.polygons]
        parts = (found.boxes, polygons, found.depth, found.model, found.refractive_index, found.targets)
        records.append(Record(scene.image, picture.getvalue(), 128, 128, *parts, scene.to_json(), 2.5))
    versions = {"blender": "none"}
    with Writer.create_or_resume(
        folder, seed=3, count=12, settings=settings.to_dict(), profile={"name": "test"}, versions=versions, shard_size=5
    ) as writer:
        for todo in writer.missing():
            writer.write_shard(todo.index, [records[i] for i in todo.ids])
    return folder


@pytest.fixture(scope="module")
def written(data_set, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    seen = []
    page = report.write(report.load(data_set), out, pictures=5, progress=lambda *told: seen.append(told))
    return out, page.read_text(encoding="utf-8"), seen


def test_every_source_gives_the_same_sample(scenes, data_set, tmp_path):
    settings, made = scenes
    shard = report.load(data_set)
    direct = report.from_scenes(made[:11], settings)
    assert direct.settings == shard.settings
    assert direct.counts.tolist() == shard.counts.tolist()[:11]
    assert shard.counts[11] == 0
    for name, tolerance in (("boxes", 1e-4), ("targets", 1e-2), ("unmet", 1e-9)):
        assert getattr(shard, name) == pytest.approx(getattr(direct, name), abs=tolerance), name
    assert shard.covered[:11].tolist() == direct.covered.tolist()
    for scene in made:
        (tmp_path / f"{scene.image:010d}.json").write_text(scene.to_json())
    folder = report.load(tmp_path)
    assert folder.counts.tolist() == [len(s.crystals) for s in made]
    assert folder.settings.rule == "unbiased"
    assert (folder.settings.width, folder.settings.area) == (384, (4, 16384))  # the published model does not fit 128 x 128
    for number, write in enumerate((export.pcs_json, export.coco)):
        splits = write(data_set, tmp_path / str(number), validation=0, compress=True)
        read = report.load(next(s.path for s in splits if s.split == "train"))
        assert read.counts.tolist() == shard.counts.tolist()
        assert read.targets is None
        assert read.boxes == pytest.approx(shard.boxes, abs=2e-3)
        for a, b in zip(read.pictures(3), shard.pictures(3)):
            assert a.known
            assert (a.pixels == b.pixels).all()
            assert a.boxes == pytest.approx(b.boxes, abs=2e-3)
            assert all(p == pytest.approx(q, abs=2e-3) for p, q in zip(a.polygons, b.polygons))


BOX = {"image_id": 1, "category_id": 1, "bbox": [50, 40, 30, 10, 30.0]}
HULL = {"segmentation": [[40, 30, 60, 30, 60, 35, 40, 35]]}


def pcs_file(folder, annotations, images=({"id": 1, "file_name": "a.png", "width": 100, "height": 80},), name="x.json", **more):
    path = folder / name
    content = json.dumps({"images": list(images), "annotations": annotations, "categories": [], **more}).encode()
    path.write_bytes(gzip.compress(content) if name.endswith("z") or name.endswith("gzip") else content)
    return path


def test_boxes_of_any_json(tmp_path):
    plain = {"image_id": 1, "bbox": [40, 30, 10, 20]}
    annotations = [BOX, {**plain, **HULL}, plain, {**plain, "rbox": [5, 6, 7, 3, 0.25]}, {**plain, "iscrowd": 1}]
    expected = [
        (50, 40, 30, 10, -np.pi / 6),  # counter-clockwise in the file
        (50, 32.5, 20, 5, 0),  # around the polygon
        (45, 40, 20, 10, -np.pi / 2),  # upright, long side first
        (5, 6, 7, 3, 0.25),
    ]
    for name in ("x.json", "x.json.gz", "x.gzip"):
        sample = report.load(pcs_file(tmp_path, annotations, name=name))
        assert sample.boxes == pytest.approx(np.array(expected), abs=1e-9)
        assert sample.counts.tolist() == [4]
        (picture,) = sample.pictures(9)
        assert not picture.known
        assert picture.pixels.shape == (80, 100)
        assert picture.polygons[1].tolist() == [[40, 30], [60, 30], [60, 35], [40, 35]]


def test_labels_that_lie_high_are_moved_down(tmp_path):
    for note, published, y in (({}, False, 40), ({}, True, 41), ({"info": {"label_offset_y": -1.0}}, False, 41)):
        sample = report.from_json(pcs_file(tmp_path, [{**BOX, **HULL}], **note), published_labels=published)
        (picture,) = sample.pictures(1)
        assert sample.boxes[0, 1] == y
        assert picture.polygons[0][:, 1].min() == y - 10


@pytest.mark.parametrize(
    ("annotation", "told"),
    [
        ({**BOX, "image_id": 7}, "image 7"),
        ({**BOX, "bbox": [1, 2, 3]}, "bbox"),
        ({**BOX, "bbox": [1, 2, 0, 4, 5]}, "positive sides"),
        ({**BOX, "bbox": [1, 2, float("nan"), 4, 5]}, "bbox"),
        ({**BOX, "bbox": [1, 2, 3, 4], "segmentation": [[1, 1, 2, 2, 3, 3]]}, "encloses nothing"),
        ({**BOX, "bbox": [1, 2, 3, 4], "segmentation": [[1, 1, 2]]}, "segmentation"),
    ],
)
def test_broken_annotations_are_named(tmp_path, annotation, told):
    with pytest.raises(DataError, match=told):
        report.load(pcs_file(tmp_path, [annotation]))


def test_files_that_are_no_data_set(tmp_path):
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(b"{}" * 99)[:20])
    (tmp_path / "text.json").write_text("[1, 2")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "folder").mkdir()
    for name in ("missing.json", "cut.json.gz", "text.json", "list.json", "other.json", "folder"):
        with pytest.raises(DataError, match=name):
            report.load(tmp_path / name)
    twice = [{"id": 1}, {"id": 1}]
    with pytest.raises(DataError, match="twice"):
        report.load(pcs_file(tmp_path, [], twice))


def test_images_outside_the_folder_or_broken(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "bad.png").write_bytes(b"no picture")
    for name, told in (("../../etc/passwd", "leads out"), ("bad.png", "cannot be read")):
        sample = report.load(pcs_file(tmp_path, [BOX], [{"id": 1, "file_name": name}]))
        with pytest.raises(DataError, match=told):
            report.write(sample, tmp_path / "out")
        assert not (tmp_path / "out" / report.PAGE).exists()
    assert coco.folder_beside(tmp_path / "x.json.gzip") == tmp_path / "x"


def test_a_damaged_scene_is_told(data_set, monkeypatch):
    original = Reader.record
    monkeypatch.setattr(Reader, "record", lambda self, p: dataclasses.replace(original(self, p), scene="{}"))
    with pytest.raises(DataError, match="scene of image 0"):
        report.load(data_set)


class Page(HTMLParser):
    """Everything on a page that points somewhere."""

    VOID = ("meta", "img", "link", "br")

    def __init__(self, text):
        super().__init__()
        self.images, self.tables, self.links, self.open, self.tags = [], {}, [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.add(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "srcset", "action", "data", "poster", "background")]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            kind, data = found["src"].split(",")
            assert kind == "data:image/png;base64"
            assert found["alt"]
            self.images.append(base64.b64decode(data, validate=True))
        if "download" in found:
            self.tables[found["download"]] = base64.b64decode(found["href"].split(",")[1], validate=True).decode()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone(written):
    out, text, _ = written
    page = Page(text)
    assert not page.open
    assert page.links
    assert all(link.startswith("data:") for link in page.links)
    assert not {"script", "link", "iframe", "object"} & page.tags
    style = text.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "@media print" in style
    files = {p.name: p.read_bytes() for p in out.glob("*.png")}
    assert len(page.images) == len(files) - 3  # the three panels stand together
    for data in page.images:
        assert data in files.values()
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert min(image.size) > 100
    assert {p.name for p in out.iterdir()} == {*files, report.PAGE}


def test_the_page_tells_the_sample(written, data_set):
    out, text, seen = written
    sample = report.load(data_set)
    tables = {name: [line.split(",") for line in csv.splitlines()] for name, csv in Page(text).tables.items()}
    counts = {row[0]: row[1] for row in tables["counts.csv"]}
    assert counts["images"] == "12"
    assert counts["images without crystals"] == "1"
    assert counts["crystals"] == str(len(sample.boxes))
    area = sum(float(row[3]) for row in tables["area_classes.csv"][1:])
    assert area == pytest.approx(Analysis(sample).areas.sum(), abs=16)
    assert seen == [(k, seen[-1][1]) for k in range(len(seen))]
    assert seen[-1][0] == len(list(out.glob("*.png")))
    with Image.open(out / "labels.png") as sheet, Image.open(out / "images.png") as plain:
        assert sheet.size == plain.size == (5 * 384 + 4 * 8, 384)


@pytest.mark.parametrize("kind", ["nothing", "empty images", "one crystal", "no caps"])
def test_small_samples(tmp_path, kind):
    counts = {"nothing": [], "empty images": [0, 0], "one crystal": [0, 1], "no caps": [1]}[kind]
    targets = drawn(PUBLISHED, sum(counts))
    covered = np.full((len(counts), 2), 0.1)
    sample = sample_of(targets, PUBLISHED, known=kind != "no caps", counts=np.array(counts, np.int64))
    sample = dataclasses.replace(sample, name="<b>&", covered=None if kind == "no caps" else covered)
    page = Page(report.write(sample, tmp_path).read_text(encoding="utf-8"))
    assert "b" not in page.tags
    assert len(page.images) >= 3


def test_a_broken_report_leaves_no_page(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot create the folder"):
        report.write(sample_of(drawn(UNBIASED, 3), UNBIASED), tmp_path / "file" / "report")


def test_both_rules_in_one_picture():
    rows = [Analysis(sample_of(drawn(s, 50), s)) for s in (PUBLISHED, UNBIASED)]
    one, both = (Image.open(io.BytesIO(figures.png(figures.distributions(*r)))) for r in (rows[:1], rows))
    assert both.width == one.width
    assert both.height == 2 * one.height


def test_importing_needs_no_plotting():
    code = "import sys, pcs_render.report; print({'matplotlib', 'PIL', 'pyarrow', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"
