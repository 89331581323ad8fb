"""Laws of the whole pipeline: what results depend on, purity, plans, types, sizes, targets."""

import contextlib
import dataclasses

import numpy as np
import pytest
import torch
from batches import assert_same_targets, random_images, random_targets
from hypothesis import given, settings
from hypothesis import strategies as st

import pcs_augment as pa
from pcs_augment import boxes as bx

sizes = st.integers(1, 40)


def everything(seed=0, **options):
    """The default pipeline with every step switched on."""
    pipeline = pa.default_pipeline(seed=seed, **options)
    for step in pipeline.steps:
        step.p = 1.0
    return pipeline


def equal(a, b):
    return torch.equal(a[0], b[0]) and assert_same_targets(a[1], b[1]) is None


@settings(max_examples=25)
@given(sizes, sizes, st.lists(st.integers(0, 6), min_size=2, max_size=4), st.integers(0, 2**64 - 1), st.integers(1, 3))
def test_a_batch_of_n_is_n_batches_of_one(height, width, counts, seed, channels):
    images, targets = random_images(len(counts), height, width, channels), random_targets(counts, height, width)
    index = [10**9 + 7 * i for i in range(len(counts))]
    pipeline = everything(seed)
    whole = pipeline(images, targets, index=index, epoch=3)
    for i in range(len(counts)):
        one = pipeline(images[i : i + 1], targets[i : i + 1], index=index[i : i + 1], epoch=3)
        assert torch.equal(one[0][0], whole[0][i])
        assert_same_targets(one[1], whole[1][i : i + 1])


@pytest.mark.parametrize("kernels", ["numba", "torch"])
def test_64_are_64_batches_of_one_bit_for_bit(sample, kernels, monkeypatch):
    monkeypatch.setenv("PCS_AUGMENT_KERNELS", kernels)
    images, targets, index = sample
    rows = torch.arange(64) % len(images)
    images, targets, index = images[rows], [targets[i] for i in rows], torch.arange(64)
    pipeline = pa.default_pipeline(seed=5)
    whole = pipeline(images, targets, index=index)
    for i in range(64):
        one = pipeline(images[i : i + 1], targets[i : i + 1], index=index[i : i + 1])
        assert torch.equal(one[0][0], whole[0][i])
        assert_same_targets(one[1], whole[1][i : i + 1])


def test_order_and_thread_count_do_not_matter(sample):
    images, targets, index = sample
    pipeline = everything(1)
    straight = pipeline(images, targets, index=index)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    shuffled = pipeline(images[order], [targets[i] for i in order], index=index[order])
    assert torch.equal(shuffled[0], straight[0][order])
    assert_same_targets(shuffled[1], [straight[1][i] for i in order])
    threads = torch.get_num_threads()
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            assert equal(pipeline(images, targets, index=index), straight)
    finally:
        torch.set_num_threads(threads)


def test_seed_epoch_and_index_each_change_the_result():
    images = random_images(1, 70, 90)  # larger than two border bands
    base = everything(0)(images)
    assert torch.equal(everything(0)(images), base)
    assert not torch.equal(everything(1)(images), base)
    assert not torch.equal(everything(0)(images, index=[1]), base)
    assert not torch.equal(everything(0)(images, epoch=1), base)


def test_the_two_contrasts_draw_different_factors():
    plan = pa.default_pipeline().draw((50, 1, 8, 8))
    first, second = (s["images"]["factor"] for n, s in zip(plan.names, plan.steps) if n == "Contrast")
    assert not np.any(first == second)


@settings(max_examples=15)
@given(sizes, sizes, st.integers(0, 9), st.sampled_from([torch.uint8, torch.float32, torch.float16, torch.bfloat16]))
def test_apply_is_pure_and_replays(height, width, seed, dtype):
    images = (random_images(2, height, width) * (255 if dtype == torch.uint8 else 1)).to(dtype)
    targets = random_targets([3, 2], height, width)
    kept, kept_targets = images.clone(), [dict(t) for t in targets]
    pipeline = everything(seed)
    plan = pipeline.draw(images.shape, targets)
    first, second = pipeline.apply(images, targets, plan), pipeline.apply(images, targets, plan)
    assert equal(first, second)
    assert torch.equal(images, kept)
    assert_same_targets(targets, kept_targets)
    assert first[0].dtype == (torch.float32 if dtype == torch.uint8 else dtype)
    assert first[0].shape == images.shape
    assert 0 <= float(first[0].min()) <= float(first[0].max()) <= 1
    assert [t["keep"].shape for t in first[1]] == [(3,), (2,)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_float32_rounded_at_the_ends(sample, dtype):
    images = (sample[0][:4].float() / 255).to(dtype)
    pipeline = everything(2)
    assert torch.equal(pipeline(images, index=range(len(images))), pipeline(images.float(), index=range(len(images))).to(dtype))


def test_uint8_is_divided_by_255(sample):
    pipeline = everything(2)
    images = sample[0][:2]
    assert torch.equal(pipeline(images, index=[0, 1]), pipeline(images.float().div(255), index=[0, 1]))


def test_strided_and_channels_last_images_give_the_same():
    images = random_images(2, 16, 24, 3)
    pipeline = everything()
    want = pipeline(images, index=range(len(images)))
    assert torch.equal(pipeline(images.to(memory_format=torch.channels_last), index=range(len(images))), want)
    assert torch.equal(pipeline(images.transpose(2, 3).contiguous().transpose(2, 3), index=range(len(images))), want)
    bytes_ = (images * 255).to(torch.uint8)
    strided = bytes_.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert torch.equal(pipeline(strided, index=[0, 1]), pipeline(bytes_, index=[0, 1]))


def test_channels_share_layers_and_grey_stays_grey():
    grey = random_images(2, 24, 24)
    pipeline = pa.Pipeline([s for s in everything().steps if not isinstance(s, pa.GaussianNoise)])
    colour = pipeline(grey.expand(-1, 3, -1, -1))
    assert torch.equal(colour[:, 0], colour[:, 1])
    assert torch.equal(colour[:, 0], colour[:, 2])


def test_with_and_without_targets():
    images = random_images(2, 20, 20)
    pipeline = pa.default_pipeline()
    alone = pipeline(images, index=range(len(images)))
    assert isinstance(alone, torch.Tensor)
    with_none, none = pipeline(images, None, index=range(len(images)))
    assert none is None
    assert torch.equal(alone, with_none)
    plan = pipeline.draw(images.shape)
    assert torch.equal(pipeline.apply(images, None, plan)[0], alone)


# --- plans --------------------------------------------------------------------------------------------------------------


def test_a_plan_survives_the_disk(tmp_path):
    images, targets = random_images(3, 20, 30), random_targets([0, 4, 2], 20, 30)
    pipeline = everything(7)
    plan = pipeline.draw(images.shape, targets, index=[5, 6, 7], epoch=2)
    plan.save(tmp_path / "plan.npz")
    loaded = pa.Plan.load(tmp_path / "plan.npz")
    assert equal(pipeline.apply(images, targets, loaded), pipeline.apply(images, targets, plan))
    for field in dataclasses.fields(pa.Plan):
        if field.name not in ("steps", "index", "objects", "chances"):
            assert getattr(loaded, field.name) == getattr(plan, field.name)
    plan.save(tmp_path / "again.npz")
    assert (tmp_path / "plan.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.npz", "plan.npz"]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5), st.data())
def test_slices_concatenate_to_the_whole(counts, data):
    images, targets = random_images(len(counts), 12, 16), random_targets(counts, 12, 16)
    pipeline = everything(1)
    plan = pipeline.draw(images.shape, targets)
    cut = data.draw(st.integers(1, len(counts)))
    parts = [plan.slice(0, cut)] + ([plan.slice(cut, len(counts))] if cut < len(counts) else [])
    joined = pa.Plan.concatenate(parts)
    for a, b in zip(joined.steps, plan.steps):
        assert a.keys() == b.keys()
        for name in a:
            for column in a[name]:
                assert np.array_equal(a[name][column], b[name][column])
    part = pipeline.apply(images[:cut], targets[:cut], parts[0])
    assert torch.equal(part[0], pipeline.apply(images, targets, plan)[0][:cut])


def test_bad_plans_are_named(tmp_path):
    images = random_images(2, 8, 8)
    pipeline = pa.default_pipeline()
    plan = pipeline.draw(images.shape)
    with pytest.raises(pa.InputError, match="drawn for the steps"):
        pa.Blur().apply(images, None, plan)
    with pytest.raises(pa.InputError, match="drawn for the steps"):
        pa.default_pipeline(published=True).apply(images, None, plan)
    with pytest.raises(pa.InputError, match="drawn for images"):
        pipeline.apply(random_images(2, 8, 9), None, plan)
    with pytest.raises(pa.InputError, match="objects per image"):
        pipeline.apply(images, random_targets([1, 0], 8, 8), plan)
    with pytest.raises(pa.InputError, match="must be a Plan"):
        pipeline.apply(images, None, {"sigma": 1})
    with pytest.raises(pa.InputError, match="slice"):
        plan.slice(1, 4)
    with pytest.raises(pa.InputError, match="agree"):
        pa.Plan.concatenate([plan, pipeline.draw((1, 1, 9, 9))])
    with pytest.raises(pa.InputError, match="at least one plan"):
        pa.Plan.concatenate([])
    with pytest.raises(pa.DataError, match="no such plan"):
        pa.Plan.load(tmp_path / "none.npz")
    broken = tmp_path / "broken.npz"
    plan.save(broken)
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(pa.DataError, match=r"not a plan written by Plan\.save"):
        pa.Plan.load(broken)
    plan.save(broken)
    whole = broken.read_bytes()
    for at in range(0, len(whole), 37):
        broken.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with contextlib.suppress(pa.DataError):  # a flipped bit may hit padding, but no other error may come out
            pa.Plan.load(broken)
    with pytest.raises(pa.OutputError, match="cannot write"):
        plan.save(tmp_path / "missing" / "plan.npz")


# --- targets ------------------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(0, 3), st.integers(0, 2), st.integers(8, 40), st.integers(8, 40), st.integers(0, 99))
def test_outlines_and_boxes_follow_pixels(turn, flip, height, width, seed):
    """A filled outline moved with its image is the moved outline, filled."""
    if turn % 2:
        width = height
    target = random_targets([1], height, width, seed)[0]
    paint = pa.Highlight(fill=1, second=0, grey=(165, 165), kernels=(1,))
    image = torch.full((1, 1, height, width), 0.5)
    rotate, mirror = pa.Rotate90(), pa.Flip()
    shape = image.shape
    turn_plan, flip_plan = rotate.draw(shape, [target]), mirror.draw(shape, [target])
    turn_plan.steps[0]["images"]["kind"][:] = turn
    flip_plan.steps[0]["images"]["kind"][:] = flip
    painted, _ = paint(image, [target])
    moved_image, moved_target = mirror.apply(*rotate.apply(painted, [target], turn_plan), flip_plan)
    repainted, _ = paint(image, moved_target)
    # a centre on the border by a hair may change sides in float32
    assert ((moved_image - repainted).abs() > 1e-6).sum() <= 2
    corners = bx.box_corners(moved_target[0]["boxes"].double())
    x, y = corners[..., 0].mean(1), corners[..., 1].mean(1)
    assert torch.allclose(torch.stack((x, y), 1), moved_target[0]["boxes"][:, :2].double(), atol=1e-4)


def test_dropped_objects_take_all_their_keys_along():
    image = torch.full((1, 1, 40, 40), 0.5)
    image[..., 5:15, 5:15] = torch.rand(10, 10)
    target = {
        "boxes": torch.tensor([[10.0, 10, 8, 8, 0], [30, 30, 6, 4, 0.3], [9, 9, 4, 1, 0]]),
        "labels": torch.tensor([1, 2, 3]),
        "names": ["noisy", "flat", "thin"],
        "scores": np.array([0.1, 0.2, 0.3]),
        "pairs": ("a", "b", "c"),
        "image_id": 5,
        "size": torch.tensor(40),
        "note": "abc",
    }
    _, (out,) = pa.Pipeline([pa.MinEdge(2), pa.KeepDetectable()], per_object=["names", "pairs"])(image, [target])
    assert out["names"] == ["noisy"]
    assert out["pairs"] == ("a",)
    assert out["labels"].tolist() == [1]
    assert out["scores"].tolist() == [0.1]
    assert out["boxes"].shape == (1, 5)
    assert (out["image_id"], int(out["size"]), out["note"]) == (5, 40, "abc")
    assert "keep" not in out


@pytest.mark.parametrize("kernels", ["numba", "torch"])
@pytest.mark.parametrize("threshold", [0, 4, 200])
def test_detectability_is_the_grey_range_in_the_widened_outline(threshold, kernels, monkeypatch):
    monkeypatch.setenv("PCS_AUGMENT_KERNELS", kernels)
    rng = np.random.default_rng(threshold)
    image = torch.full((1, 2, 60, 50), 0.4)
    target = random_targets([40], 60, 50, seed=threshold)[0]
    for _ in range(25):
        y, x = rng.integers(0, 60), rng.integers(0, 50)
        image[0, rng.integers(0, 2), y, x] = float(rng.uniform(0, 1))
    step = pa.KeepDetectable(threshold)
    plan = step.draw(image.shape, [target])
    keep = step.apply(image, [target], plan)[1][0]["keep"]
    grey = (image * 255).round()[0]
    y, x = np.mgrid[:60, :50] + 0.5
    at = np.stack((x, y), -1).reshape(-1, 2)
    from test_raster import border_distance, in_polygon

    seen = set()
    for polygon, got in zip(target["polygons"], keep.tolist()):
        polygon = polygon.double().numpy()
        border = border_distance(at, polygon)
        near = torch.from_numpy((in_polygon(at, polygon) | (border <= 2)).reshape(60, 50))
        if not near.any() or (np.abs(border - 2) < 2e-3).any():
            continue
        values = grey[:, near]
        want = bool(values.max() - values.min() > threshold)
        assert got == want
        seen.add(want)
    assert seen == {True, False} or threshold == 200


def test_a_box_stands_in_for_a_missing_outline():
    image = random_images(1, 40, 40)
    with_outline = random_targets([3], 40, 40)
    corners = list(bx.box_corners(with_outline[0]["boxes"].double()).float())
    step = pa.Highlight(fill=1.0)
    boxes_only = [{"boxes": with_outline[0]["boxes"]}]
    drawn = [{"boxes": with_outline[0]["boxes"], "polygons": corners}]
    assert (step(image, boxes_only, index=range(len(image)))[0] - step(image, drawn, index=range(len(image)))[0]).abs().gt(
        1e-3
    ).float().mean() < 0.01


def test_numpy_targets_and_plain_lists_are_welcome():
    images, (target,) = random_images(1, 30, 30), random_targets([4], 30, 30)
    plain = {"boxes": target["boxes"].numpy(), "polygons": [p.numpy() for p in target["polygons"]], "labels": [0, 1, 2, 3]}
    pipeline = everything(3)
    a, (ta,) = pipeline(images, [target], index=range(len(images)))
    b, (tb,) = pipeline(images, [plain], index=range(len(images)))
    assert torch.equal(a, b)
    assert torch.equal(ta["boxes"], torch.as_tensor(tb["boxes"]))


def test_it_is_a_module_like_any_other():
    pipeline = pa.default_pipeline(seed=1)
    images = random_images(1, 12, 12)
    want = pipeline(images, index=range(len(images)))
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), pipeline).to("cpu").half()
    assert torch.equal(model[1](images, index=[0]), want)
    seen = []
    model.apply(lambda module: seen.append(type(module).__name__))
    assert {"Sequential", "Pipeline", "Blur"} <= set(seen)
    with pytest.raises(pa.InputError, match="apply needs the plan"):
        pipeline.apply(images, None)
    assert not list(pipeline.parameters())
    assert not pipeline.state_dict()
    assert "sigma=(0.01, 0.06)" in repr(pipeline)


def test_the_published_variant_has_the_published_quirks(sample):
    ours, published = pa.default_pipeline(seed=2), pa.default_pipeline(seed=2, published=True)
    assert [type(s) for s in ours.steps] == [type(s) for s in published.steps]
    quirks = {
        "Highlight": {"sigma": 2.0, "mirrored": True},
        "Displace": {"alternate": True},
        "InterferenceLayer": {"bins": 256},
        "PerlinLayer": {"bins": 256, "offset": False},
        "Overlay": {"sigma": 2.0},
        "Blur": {"sigma": 2.0},
    }
    for a, b in zip(ours.steps, published.steps):
        differ = {k: v for k, v in vars(b).items() if not k.startswith("_") and vars(a)[k] != v}
        assert differ == quirks.get(type(b).__name__, {})
    images, targets, index = (v[:3] for v in sample)
    a, b = ours(images, targets, index=index)[0], published(images, targets, index=index)[0]
    assert not torch.equal(a, b)
    assert float((a - b).abs().mean()) < 0.15


def test_different_steps_used_alone_draw_different_numbers():
    shape = (200, 1, 8, 8)
    gates = [step(p=0.5).draw(shape).steps[0]["images"]["sample"].tolist() for step in (pa.Blur, pa.Flip, pa.GaussianNoise)]
    assert gates[0] != gates[1] != gates[2] != gates[0]
    noisy, impulses = (step.draw(shape).steps[0]["images"] for step in (pa.GaussianNoise(), pa.ImpulseNoise()))
    assert not np.any(noisy["key0"] == impulses["key0"])


def test_a_keep_of_an_earlier_step_is_not_forgotten():
    image = random_images(1, 40, 40)
    target = {"boxes": torch.tensor([[20.0, 20, 10, 8, 0], [20, 20, 10, 1, 0]])}
    small, seen = pa.MinEdge(2), pa.KeepDetectable()
    image, targets = small.apply(image, [target], small.draw(image.shape, [target]))
    assert targets[0]["keep"].tolist() == [True, False]
    _, targets = seen.apply(image, targets, seen.draw(image.shape, targets))
    assert targets[0]["keep"].tolist() == [True, False]
    assert pa.Blur()(image, targets)[1][0]["keep"].tolist() == [True, False]


@pytest.mark.parametrize("kernels", ["numba", "torch"])
def test_a_flat_coloured_patch_is_undetectable(kernels, monkeypatch):
    monkeypatch.setenv("PCS_AUGMENT_KERNELS", kernels)
    image = torch.tensor([0.2, 0.5, 0.8]).view(1, 3, 1, 1).expand(1, 3, 40, 40).clone()
    target = {"boxes": torch.tensor([[10.0, 10, 8, 6, 0.3], [30, 30, 8, 6, 0.3]])}
    image[0, 1, 30, 30] = 0.6
    assert pa.KeepDetectable()(image, [target])[1][0]["boxes"].tolist() == target["boxes"][1:].tolist()


def test_types_of_boxes_do_not_spread_over_the_batch():
    images, targets = random_images(2, 20, 20), random_targets([2, 2], 20, 20)
    targets[1]["boxes"] = targets[1]["boxes"].double()
    out = pa.Flip()(images, targets)[1]
    assert [t["boxes"].dtype for t in out] == [torch.float32, torch.float64]


def test_outlines_may_come_as_one_array():
    images, targets = random_images(1, 30, 30), random_targets([3], 30, 30)
    square = bx.box_corners(targets[0]["boxes"])
    as_list, as_array = ({"boxes": targets[0]["boxes"], "polygons": p} for p in (list(square), square.numpy()))
    pipeline = everything(3)
    assert torch.equal(
        pipeline(images, [as_list], index=range(len(images)))[0], pipeline(images, [as_array], index=range(len(images)))[0]
    )
