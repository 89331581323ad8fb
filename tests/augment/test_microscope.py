"""Laws of the steps that imitate photographs, and of the pipeline made of them."""

import numpy as np
import pytest
import torch
from batches import assert_same_targets, random_images, random_targets
from hypothesis import given, settings
from hypothesis import strategies as st

import pcs_augment as pa
from pcs_augment import boxes as bx
from pcs_augment import clipping

sizes = st.integers(1, 40)
STEPS = [
    *(pa.RandomCrop, pa.WellWall, pa.DropEdge, pa.Grain, pa.Vignette, pa.Invert, pa.Scratches, pa.Debris, pa.Marks),
    *(pa.CrossedPolarisers, pa.Saturate, pa.Sharpen, pa.JPEG),
]


def everything(seed=0, **options):
    """The pipeline for photographs with every step switched on."""
    pipeline = pa.microscope_pipeline(seed=seed, **options)
    for step in pipeline.steps:
        step.p = 1.0
    return pipeline


@settings(max_examples=25)
@given(sizes, sizes, st.lists(st.integers(0, 6), min_size=2, max_size=4), st.integers(0, 2**64 - 1), st.integers(1, 3))
def test_a_batch_of_n_is_n_batches_of_one(height, width, counts, seed, channels):
    images, targets = random_images(len(counts), height, width, channels), random_targets(counts, height, width)
    index = [10**9 + 7 * i for i in range(len(counts))]
    pipeline = everything(seed, size=(23, 31))
    whole = pipeline(images, targets, index=index, epoch=3)
    assert whole[0].shape == (len(counts), channels, 23, 31)
    for i in range(len(counts)):
        one = pipeline(images[i : i + 1], targets[i : i + 1], index=index[i : i + 1], epoch=3)
        assert torch.equal(one[0][0], whole[0][i])
        assert_same_targets(one[1], whole[1][i : i + 1])


def test_order_and_threads_do_not_matter(sample):
    images, targets, index = sample
    pipeline = everything(1, size=200)
    straight = pipeline(images, targets, index=index)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    shuffled = pipeline(images[order], [targets[i] for i in order], index=index[order])
    assert torch.equal(shuffled[0], straight[0][order])
    assert_same_targets(shuffled[1], [straight[1][i] for i in order])
    threads = torch.get_num_threads()
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            assert torch.equal(pipeline(images, targets, index=index)[0], straight[0])
    finally:
        torch.set_num_threads(threads)


def test_applying_a_plan_flags_what_calling_removes(sample):
    images, targets, index = sample
    pipeline = everything(2, size=256)
    called = pipeline(images, targets, index=index)
    applied = pipeline.apply(images, targets, pipeline.draw(images.shape, targets, index=index))
    assert torch.equal(called[0], applied[0])
    assert 0 < sum(len(t["boxes"]) for t in called[1]) < sum(len(t["boxes"]) for t in targets)
    for before, few, all_of_them in zip(targets, called[1], applied[1]):
        keep = all_of_them.pop("keep")
        assert len(all_of_them["boxes"]) == len(before["boxes"])
        assert_same_targets([pa.targets.select(all_of_them, keep.numpy())], [few])


def test_plans_survive_slicing_joining_and_saving(sample, tmp_path):
    images, targets, index = sample
    pipeline = everything(3, size=128)
    plan = pipeline.draw(images.shape, targets, index=index)
    plan.save(tmp_path / "plan.npz")
    again = pa.Plan.concatenate(list(pa.Plan.load(tmp_path / "plan.npz")))
    a, b = pipeline.apply(images, targets, plan), pipeline.apply(images, targets, again)
    assert torch.equal(a[0], b[0])
    assert_same_targets(a[1], b[1])


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8])
def test_types_sizes_and_empty_targets(step, dtype):
    for height, width in ((1, 1), (1, 9), (17, 5)):
        images = random_images(2, height, width)
        images = (images * 255).to(dtype) if dtype == torch.uint8 else images.to(dtype)
        before = images.clone()
        targets = [{"boxes": torch.zeros(0, 5), "labels": torch.zeros(0, dtype=torch.int64)}] * 2
        out, new = step()(images, targets)
        assert torch.equal(images, before)
        assert out.shape == images.shape
        assert out.dtype == (torch.float32 if dtype == torch.uint8 else dtype)
        assert out.isfinite().all()
        assert out.min() >= 0
        assert out.max() <= 1
        assert [len(t["boxes"]) for t in new] == [0, 0]
        assert step()(images).shape == images.shape  # without targets


# --- the crop -----------------------------------------------------------------------------------------------------------


def test_a_crop_at_scale_one_copies_pixels():
    images = random_images(3, 30, 40)
    step = pa.RandomCrop((11, 13), scale=(1, 1))
    table = step.draw(images.shape).steps[0]["images"]
    out = step(images, index=range(len(images)))
    for i, (left, top) in enumerate(zip(table["left"].astype(int), table["top"].astype(int))):
        assert torch.equal(out[i], images[i, :, top : top + 11, left : left + 13])


def test_outlines_follow_the_pixels_of_a_crop():
    height, width = 90, 120
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    ramp = torch.stack((x / width, y / height))[None].repeat(6, 1, 1, 1)
    step = pa.RandomCrop((50, 60), scale=(0.6, 2.0), seed=4)
    table = step.draw(ramp.shape).steps[0]["images"]
    assert len(np.unique(table["scale"])) == 6
    out = step(ramp)
    px, py = torch.arange(60) + 0.5, torch.arange(50) + 0.5
    for i in range(6):
        s, left, top = (float(table[c][i]) for c in ("scale", "left", "top"))
        where_x, where_y = out[i, 0, 20] * width, out[i, 1, :, 20] * height  # what each pixel shows of the input
        inner = slice(3, -3)
        assert torch.allclose(where_x[inner], (left + px / s)[inner], atol=0.05)
        assert torch.allclose(where_y[inner], (top + py / s)[inner], atol=0.05)
        # an object of the input at that place lands on that pixel
        box = torch.tensor([[left + 30 / s, top + 25 / s, 8 / s, 4 / s, 0.3]])
        moved = step(ramp[i : i + 1], [{"boxes": box}], index=[i])[1][0]["boxes"]
        assert torch.allclose(moved, torch.tensor([[30.0, 25, 8, 4, 0.3]]), atol=1e-3)


def test_the_scale_is_log_uniform_and_fills_the_output():
    step = pa.RandomCrop(100, scale=(0.25, 2.0))
    table = step.draw((4000, 1, 200, 300)).steps[0]["images"]
    scale, left, top = table["scale"], table["left"], table["top"]
    assert scale.min() >= 0.5  # below, the window would be higher than the image
    share = (np.log(scale) - np.log(0.5)) / (np.log(2) - np.log(0.5))
    assert np.abs(np.sort(share) - (np.arange(4000) + 0.5) / 4000).max() < 1.63 / np.sqrt(4000)  # Kolmogorov, 1 %
    for start, length in ((left, 300), (top, 200)):
        assert start.min() >= 0
        assert (start + 100 / scale).max() <= length + 1e-9
        share = start / np.maximum(length - 100 / scale, 1e-12)
        assert np.abs(np.sort(share) - (np.arange(4000) + 0.5) / 4000).max() < 1.63 / np.sqrt(4000)


def test_cut_objects_keep_their_visible_part():
    square = torch.tensor([[30.0, 10], [50, 10], [50, 30], [30, 30]])
    targets = [{"boxes": torch.tensor([[40.0, 20, 20, 20, 0]]), "polygons": [square], "labels": torch.tensor([7])}]
    image = random_images(1, 64, 64)
    seen = set()
    for i in range(60):
        step = pa.RandomCrop(30, scale=(1, 1), visible=0.3)
        plan = step.draw(image.shape, targets, index=[i])
        left, top = (float(plan.steps[0]["images"][c][0]) for c in ("left", "top"))
        across = max(0, min(50, left + 30) - max(30, left))
        down = max(0, min(30, top + 30) - max(10, top))
        new = step(image, targets, index=[i])[1][0]
        kept = across * down >= 0.3 * 400
        assert len(new["boxes"]) == len(new["polygons"]) == len(new["labels"]) == int(kept)
        seen.add((kept, across * down == 400))
        if kept:
            sides = sorted((across, down), reverse=True)
            assert np.allclose(new["boxes"][0, 2:4], sides)
            assert np.allclose(new["boxes"][0, 0], (max(30, left) + min(50, left + 30)) / 2 - left)
            assert new["polygons"][0].min() >= 0
            assert new["polygons"][0].max() <= 30
            # without polygons the box is cut
            bare = step(image, [{"boxes": targets[0]["boxes"]}], index=[i])[1][0]["boxes"]
            assert np.allclose(bare, new["boxes"], atol=1e-4)
    assert seen == {(False, False), (True, False), (True, True)}


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_both_sides_of_a_cut_make_up_the_whole(seed, n):
    rng = np.random.default_rng(seed)
    corners = rng.integers(3, 8, n)
    # no gap reaches half a turn, so that no outline crosses itself
    angle = np.concatenate([2 * np.pi * (np.arange(k) + rng.uniform(0, 0.49, k)) / k for k in corners])
    radius = rng.uniform(0.3, 1, len(angle))
    points = np.stack((radius * np.cos(angle), radius * np.sin(angle)), -1)
    turn = rng.uniform(0, 2 * np.pi, n)
    planes = np.stack((np.cos(turn), np.sin(turn), rng.uniform(-0.6, 0.6, n)), -1)
    new, number = clipping.clip(points, corners, planes)
    assert number.sum() == len(new)
    owner = np.repeat(np.arange(n), number)
    assert ((planes[owner, :2] * new).sum(1) <= planes[owner, 2] + 1e-9).all()
    left, other = clipping.areas(new, number), clipping.areas(*clipping.clip(points, corners, -planes))
    whole = clipping.areas(points, corners)
    assert np.allclose(left + other, whole, atol=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_boxes_around_many_are_boxes_around_each(seed):
    rng = np.random.default_rng(seed)
    corners = rng.integers(1, 8, 9)
    points = rng.uniform(0, 50, (int(corners.sum()), 2))
    for k in range(3, 8):  # and some that are convex
        at = np.sort(rng.uniform(0, 2 * np.pi, k))
        points = np.concatenate((points, np.stack((20 * np.cos(at), 9 * np.sin(at)), -1)))
        corners = np.append(corners, k)
    boxes = clipping.boxes_around(points, corners)
    for box, mine in zip(boxes, np.split(points, np.cumsum(corners)[:-1])):
        expected = bx.min_area_box(mine)
        assert np.isclose(box[2] * box[3], expected[2] * expected[3], rtol=1e-6, atol=1e-9)
        corner = bx.box_corners(box[None])[0]
        axes = np.stack((corner[1] - corner[0], corner[3] - corner[0]))
        inside = (mine - corner[0]) @ axes.T
        assert (inside >= -1e-6).all()
        assert (inside <= (axes**2).sum(1) + 1e-6).all()


# --- wall and drop ------------------------------------------------------------------------------------------------------


def test_the_wall_is_dark_where_it_covers_and_takes_objects_with_it(sample):
    images, targets, index = sample
    images = torch.full_like(images, 200)
    step = pa.WellWall(clear=0.0)
    plan = step.draw(images.shape, targets, index=index)
    out, new = step.apply(images, targets, plan)
    table = plan.steps[0]["images"]
    y, x = np.meshgrid(np.arange(384) + 0.5, np.arange(384) + 0.5, indexing="ij")
    for i in range(len(images)):
        first = table["nx"][i] * x + table["ny"][i] * y - table["edge"][i]
        second = table["mx"][i] * x + table["my"][i] * y - table["other"][i]
        depth = np.maximum(first, second)
        grey = out[i, 0].numpy()
        assert grey[depth > 30].mean() < 0.12
        assert grey[depth < -100].mean() > 0.5
        cx, cy = targets[i]["boxes"][:, :2].numpy().T
        at = np.maximum(
            table["nx"][i] * cx + table["ny"][i] * cy - table["edge"][i],
            table["mx"][i] * cx + table["my"][i] * cy - table["other"][i],
        )
        far = targets[i]["boxes"][:, 2:4].norm(dim=1).numpy() / 2
        keep = new[i]["keep"].numpy()
        assert not keep[at > far].any()
        assert keep[at < -far].all()
        whole = at < -far
        assert torch.equal(new[i]["boxes"][whole], targets[i]["boxes"][whole])
        cut = keep & (at > -1) & (at < 1)
        assert (new[i]["boxes"][cut, 2] * new[i]["boxes"][cut, 3] <= targets[i]["boxes"][cut, 2:4].prod(1) + 1e-3).all()


def test_the_share_of_the_picture_under_the_wall_is_uniform():
    step = pa.WellWall(cover=(0.1, 0.8))
    table = step.draw((600, 1, 96, 128)).steps[0]["images"]
    y, x = np.meshgrid(np.arange(96) + 0.5, np.arange(128) + 0.5, indexing="ij")
    share = np.array(
        [
            (np.maximum(a * x + b * y - c, d * x + e * y - f) > 0).mean()
            for a, b, c, d, e, f in zip(*(table[n] for n in ("nx", "ny", "edge", "mx", "my", "other")))
        ]
    )
    assert share.min() > 0.05
    assert share.max() < 0.85
    expected = 0.1 + 0.7 * (np.arange(600) + 0.5) / 600
    assert np.abs(np.sort(share) - expected).max() < 0.07


def test_nothing_is_left_outside_the_drop(sample):
    images, targets, index = sample
    step = pa.DropEdge()
    plan = step.draw(images.shape, targets, index=index)
    out, new = step.apply(images, targets, plan)
    from pcs_augment.steps.drop import _depth

    table = plan.steps[0]["images"]
    y, x = np.meshgrid(np.arange(384) + 0.5, np.arange(384) + 0.5, indexing="ij")
    points = np.stack((x, y), -1).reshape(-1, 2)
    columns = {k: v for k, v in table.items() if k not in ("key0", "key1")}
    seen = 0
    for i in range(len(images)):
        depth = _depth(columns, np.full(len(points), i), points)[0].reshape(384, 384)
        outside = out[i, 0].numpy()[depth < -8]
        seen += outside.size
        assert (depth < 0).mean() < 0.75
        # a plane of grey: neighbours hardly differ
        if outside.size > 100:
            step_x = np.abs(np.diff(out[i, 0].numpy(), axis=1))[depth[:, 1:] < -9]
            assert step_x.max(initial=0) < 0.02
        centre = _depth(columns, np.full(len(targets[i]["boxes"]), i), targets[i]["boxes"][:, :2].double().numpy())[0]
        far = targets[i]["boxes"][:, 2:4].norm(dim=1).numpy()
        keep = new[i]["keep"].numpy()
        assert keep[centre > far].all()
        assert not keep[centre < -far].any()
        # what is left of the outlines lies inside, nearly
        for outline in (p.double().numpy() for p, k in zip(new[i]["polygons"], keep) if k):
            assert _depth(columns, np.full(len(outline), i), outline)[0].min() > -8
    assert seen > 100_000


# --- grain --------------------------------------------------------------------------------------------------------------


def test_grain_has_the_deviation_that_was_asked_for():
    images = torch.full((24, 1, 200, 200), 0.5)
    step = pa.Grain(sigma=(8, 8), seed=1)
    step_table = step.draw(images.shape).steps[0]["images"]
    out = step(images, index=range(len(images)))
    deviation = (out - 0.5).std((1, 2, 3)) * 255
    full = step_table["bare"] < -1.2  # patches leave little bare
    assert full.sum() >= 2
    assert np.allclose(deviation[torch.from_numpy(full)], 8, rtol=0.25)
    assert deviation.max() < 10
