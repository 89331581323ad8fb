"""The Triton kernels give the bits of the torch functions they stand for; the operators keep to their schemas.

Without a GPU they run on the CPU, in Triton's interpreter. Where there is one,
these tests need it.
"""

import numpy as np
import pytest
import torch
from batches import assert_same_targets, random_images, random_targets
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_steps import STEPS, kernel_modules, kernel_names
from torch.utils._python_dispatch import TorchDispatchMode

import pcs_augment as pa
from pcs_augment import raster
from pcs_augment.bench import worst_case
from pcs_augment.noise.interference import resonant
from pcs_augment.rng import halves

pytest.importorskip("triton", reason="there is no Triton for this system")

from pcs_augment.kernels.triton import launch, layers, splines, sums

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
pytestmark = [pytest.mark.gpu] if DEVICE.type == "cuda" else []


def on_device(images, targets):
    return images.to(DEVICE), pa.targets.on_device(targets, DEVICE)


def by(kernels, work, *args):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCS_AUGMENT_KERNELS", kernels)
        return work(*args)


def applied(augmentation, images, targets, plan):
    """What the kernels make of a batch, after comparing it with what torch makes of it."""
    images, targets = on_device(images, targets)
    before = images.clone()
    fast = by("triton", augmentation.apply, images, targets, plan)
    assert torch.equal(images, before)
    plain = by("torch", augmentation.apply, images, targets, plan)
    assert torch.equal(fast[0], plain[0])
    assert_same_targets(fast[1], plain[1])
    return fast


@pytest.fixture
def launched(monkeypatch):
    """Names of the kernels in the order of their launches."""
    names = []

    def spying(launch):
        def spy(kernel, programs, *args, **options):
            if programs:
                names.append(kernel.fn.__name__)
            launch(kernel, programs, *args, **options)

        return spy

    for module in kernel_modules():
        monkeypatch.setattr(module, "launch", spying(module.launch))
    return names


@pytest.mark.parametrize("step", STEPS, ids=lambda s: type(s).__name__)
@settings(max_examples=4)
@given(st.integers(1, 40), st.integers(1, 150), st.integers(1, 3), st.booleans(), st.integers(0, 2**63))
def test_same_bits(step, height, width, channels, square, seed):
    width = height if square else width
    images, targets = random_images(3, height, width, channels, seed), random_targets([4, 0, 5], height, width, seed % 1000)
    index = np.array([0, 1, 2]) + seed % 2**40
    applied(step, images, targets, step.draw(images.shape, targets, index=index))


@pytest.mark.parametrize("step", STEPS, ids=lambda s: type(s).__name__)
def test_same_bits_for_one_pixel_and_for_a_batch_without_objects(step):
    for counts, size in (([2, 0], (1, 1)), ([0, 0], (5, 3))):
        images, targets = random_images(2, *size), random_targets(counts, *size)
        applied(step, images, targets, step.draw(images.shape, targets))


@pytest.mark.parametrize("step", STEPS, ids=lambda s: type(s).__name__)
def test_a_batch_is_its_samples(step):
    images, targets = random_images(3, 19, 23, 2), random_targets([3, 0, 2], 19, 23)
    plan = step.draw(images.shape, targets)
    images, targets = on_device(images, targets)
    whole, new = by("triton", step.apply, images, targets, plan)
    for i, mine in enumerate(plan):
        alone, target = by("triton", step.apply, images[i : i + 1], targets[i : i + 1], mine)
        assert torch.equal(alone[0], whole[i])
        assert_same_targets(target, new[i : i + 1])


@pytest.mark.parametrize("shared", [True, False])
def test_every_kernel_runs(launched, monkeypatch, shared):
    if DEVICE.type == "cpu":
        monkeypatch.setattr(sums, "IN_SHARED_MEMORY", shared)
    for step in STEPS:
        images, targets = random_images(2, 9, 9), random_targets([2, 2], 9, 9)
        by("triton", step.apply, *on_device(images, targets), step.draw(images.shape, targets))
    by("triton", pa.equalize, images.to(DEVICE))
    assert set(launched) == kernel_names()
    launched.clear()
    by("torch", step.apply, *on_device(images, targets), step.draw(images.shape, targets))
    assert launched == []


@pytest.mark.parametrize("make", [pa.default_pipeline, lambda seed: pa.default_pipeline(seed, published=True), worst_case])
def test_same_bits_for_pipelines(make):
    images, targets = random_images(2, 13, 13, seed=1), random_targets([3, 4], 13, 13, seed=2)
    pipeline = make(5)
    for epoch in range(1 if make is worst_case else 4):
        applied(pipeline, images, targets, pipeline.draw(images.shape, targets, epoch=epoch))


def test_same_bits_for_the_bundled_images(sample):
    images, targets, index = sample
    rows = torch.tensor([(t["boxes"][:, :2] < 96).all(1).sum() for t in targets]).topk(2).indices.tolist()
    images = images[rows][:, :, :96, :96]
    pipeline = pa.default_pipeline(seed=3, threshold=4)
    targets = [targets[i] for i in rows]
    plan = pipeline.draw(images.shape, targets, index=index[rows], epoch=1)
    _, new = applied(pipeline, images, targets, plan)
    keep = torch.cat([t["keep"] for t in new])
    assert 0 < keep.sum() < len(keep)  # many lie outside of the part that is left


@pytest.mark.parametrize(("fill", "second", "outline"), [(1, 0, 0), (1, 1, 0), (0, 0, 1)])
def test_objects_are_painted(fill, second, outline):
    step = pa.Highlight(fill=fill, second=second, outline=outline, grey=(250, 255))
    images, targets = torch.zeros(2, 1, 37, 61), random_targets([6, 0], 37, 61, seed=4)
    painted, _ = applied(step, images, targets, step.draw(images.shape, targets))
    assert (painted[0] > 0.1).float().mean() > 0.02
    assert (painted[1] == 0).all()


def test_curves_are_drawn():
    step = pa.Splines(curves=(4, 4), offset=(0.5, 1))
    images, targets = torch.zeros(2, 1, 33, 140), random_targets([0, 0], 33, 140)
    drawn, _ = applied(step, images, targets, step.draw(images.shape, targets))
    assert ((drawn > 0).float().mean((1, 2, 3)) > 0.02).all()
    assert ((drawn == 0).float().mean((1, 2, 3)) > 0.3).all()


@settings(max_examples=60)
@given(st.integers(1, 90), st.integers(1, 150), st.floats(0.3, 60), st.integers(0, 10**6))
def test_curves_are_looked_for_where_they_come_near(height, width, margin, seed):
    """Every tile has the segments whose rectangles, widened, meet it: in order, each once, the curves of an image closed."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-60, 200, (1, 1, 2)) + rng.normal(0, 20, (5, 7, 2)).cumsum(1)
    sample = np.array([0, 0, 2, 2, 2])
    spots, runs = splines.binned(points, sample, np.full(5, margin), height, width)
    tile, found = splines._TILE, set()
    for image, left, top, first, last in spots.tolist():
        assert first < last
        mine = runs[first:last].tolist()
        segments = [(curve, s) for begin, end, curve, _ in mine for s in range(begin, end)]
        assert segments == sorted(set(segments))
        assert all(sample[curve] == image and s // 7 == curve and s % 7 < 6 for curve, s in segments)
        assert [closes for *_, closes in mine] == [int(a[2] != b[2]) for a, b in zip(mine, [*mine[1:], [0, 0, -1, 0]])]
        found |= {(left, top, s) for _, s in segments}
    want = set()
    for curve, k in np.ndindex(5, 6):
        low, high = points[curve, k : k + 2].min(0) - margin, points[curve, k : k + 2].max(0) + margin
        for left in range(0, width, tile):
            for top in range(0, height, tile):
                if (low < (left + tile, top + tile)).all() and (high >= (left, top)).all():
                    want.add((left, top, curve * 7 + k))
    assert found == want


def test_objects_wholly_outside_are_left_alone():
    images, targets = random_images(2, 16, 16), random_targets([2, 3], 16, 16)
    for target in targets:
        target["boxes"][:, :2] += 500
        target["polygons"] = [p + 500 for p in target["polygons"]]
    for step in (pa.Highlight(fill=1), pa.KeepDetectable(3)):
        out, new = applied(step, images, targets, step.draw(images.shape, targets))
        assert torch.equal(out, images.to(DEVICE))
    assert not torch.cat([t["keep"] for t in new]).any()


def test_spread_of_convex_and_other_outlines():
    height, width = 41, 67
    images, targets = random_images(2, height, width, 3, seed=1), random_targets([14, 12], height, width, seed=3)
    images[:, :, :, :40] = images[:, :, :, :40] * 0.1 + 0.4
    images[:, 1] = 0.7  # the channel with the widest range counts
    outline = [p.double().numpy() for t in targets for p in t["polygons"]]
    convex = raster.is_convex(np.concatenate(outline), np.array([len(p) for p in outline]))
    assert 3 < convex.sum() < len(convex) - 3
    for dilation in (0.01, 0.7, 2.0, 15.0):
        step = pa.KeepDetectable(20, dilation)
        _, new = applied(step, images, targets, step.draw(images.shape, targets))
        keep = torch.cat([t["keep"] for t in new])
        assert keep.any()
        assert dilation > 1 or not keep.all()


def test_waves_that_the_pixel_grid_shapes():
    """Large images count some waves and look up others; a wavelength of two pixels along an axis is shaped by the grid."""
    step = pa.InterferenceLayer(textures=(3, 4), scale=(50, 150))
    images, targets = random_images(2, 128, 134), random_targets([0, 0], 128, 134)
    plan = step.draw(images.shape, targets)
    table = plan.steps[0]["textures"]
    table["first"][::2], table["scale"][::2] = 0.25, 2
    counted = resonant(table, 128, 134)
    assert 0 < counted.sum() < len(counted)
    applied(step, images, targets, plan)


def test_layers_in_several_goes_are_the_same(monkeypatch, launched):
    images, targets = random_images(3, 11, 17), random_targets([0, 0, 0], 11, 17)
    for step in (pa.PerlinLayer(textures=(1, 2)), pa.InterferenceLayer(textures=(1, 2))):
        plan = step.draw(images.shape, targets)
        whole, _ = applied(step, images, targets, plan)
        launched.clear()
        with monkeypatch.context() as patch:
            patch.setattr(layers, "GPU_CHUNK_PX", 1)
            patch.setattr(layers, "_COUNTED_PX", 1)
            parts, _ = applied(step, images, targets, plan)
        assert launched.count("_blend") == 3
        assert torch.equal(parts, whole)


@pytest.mark.parametrize(
    "step", [pa.Blur(), pa.Overlay(), pa.Displace(), pa.Highlight(fill=0.5)], ids=lambda s: type(s).__name__
)
def test_large_batches_in_several_goes_are_the_same(step, monkeypatch, launched):
    images, targets = random_images(5, 12, 17, 2), random_targets([3, 0, 2, 4, 1], 12, 17)
    plan = step.draw(images.shape, targets)
    whole, _ = applied(step, images, targets, plan)
    once = len(launched)
    launched.clear()
    monkeypatch.setattr(launch, "SCRATCH_PX", 1)
    parts, _ = applied(step, images, targets, plan)
    assert len(launched) > once
    assert torch.equal(parts, whole)


@pytest.mark.parametrize("size", [(1, 1), (6, 6), (7, 7), (6, 11), (34, 130)])
def test_symmetries_that_follow_each_other_move_pixels_once(size, launched):
    images, targets = random_images(12, *size, 2), random_targets([1] * 12, *size)
    steps = [pa.Flip(), pa.Rotate90(), pa.Flip()]
    plan = pa.Pipeline(steps, seed=3).draw(images.shape, targets)
    moved, _ = applied(pa.Pipeline(steps, seed=3), images, targets, plan)
    assert launched.count("_turned") == 1
    one_by_one = images.clone()
    for step, tables in zip(steps, plan.steps, strict=True):
        one_by_one = by("torch", step.change, one_by_one, tables)
    assert torch.equal(moved.cpu(), one_by_one)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", [pa.PerlinLayer, pa.InterferenceLayer])
def test_both_ways_to_count_values(monkeypatch, kind, shared):
    monkeypatch.setattr(sums, "IN_SHARED_MEMORY", shared)
    images, targets = random_images(2, 35, 131), random_targets([0, 0], 35, 131)
    for step in (kind(textures=(1, 3)), kind(textures=(2, 2), equalize_layer=False)):
        applied(step, images, targets, step.draw(images.shape, targets))


@pytest.mark.parametrize("kind", [pa.PerlinLayer, pa.InterferenceLayer])
def test_sums_of_more_than_sixteen_bits(kind):
    images, targets = random_images(1, 6, 9), random_targets([0], 6, 9)
    for textures in (15, 16, 17):
        step = kind(textures=(textures, textures))
        applied(step, images, targets, step.draw(images.shape, targets))


@pytest.mark.parametrize("step", STEPS, ids=lambda s: type(s).__name__)
def test_nothing_is_read_before_it_is_written(step, monkeypatch):
    images, targets = on_device(random_images(2, 9, 14, 2), random_targets([3, 0], 9, 14))
    plan = step.draw(images.shape, targets)
    want, want_targets = by("torch", step.apply, images, targets, plan)

    def poisoned(make, byte):
        def empty(*args, **options):
            out = make(*args, **options)
            out.flatten().view(torch.uint8).fill_(byte)
            return out

        return empty

    for byte in (0x7F, 0xFF):  # 3.4e38 and a large integer; NaN and -1
        with monkeypatch.context() as patch:
            for name in ("empty", "empty_like"):
                patch.setattr(torch, name, poisoned(getattr(torch, name), byte))
            got, got_targets = by("triton", step.apply, images, targets, plan)
        assert torch.equal(got, want)
        assert_same_targets(got_targets, want_targets)


def test_columns_that_are_views_of_a_larger_buffer():
    keys = torch.from_numpy(np.random.default_rng(0).integers(0, 2**32, (3, 7, 2)))[:, 2:, :]
    for count in (1, 7, 8, 1025):
        want = by("torch", pa.rng.halves, keys.to(DEVICE), pa.rng.LANE_PIXEL, count)
        assert torch.equal(by("triton", pa.rng.halves, keys.to(DEVICE), pa.rng.LANE_PIXEL, count), want)


@pytest.mark.parametrize("shape", [(3, 33, 57), (1, 64, 64), (2, 1, 1)])
def test_equalisation_of_even_clustered_and_flat_textures(shape):
    """Clusters of clusters take all passes, beside textures that take one."""
    rng = torch.Generator().manual_seed(0)
    wide, narrow = (torch.randint(0, 4, shape, generator=rng) * size for size in (0.25, 1e-4))
    dust = torch.rand(shape, generator=rng) * 1e-7
    mixed = torch.cat([torch.rand(shape, generator=rng), wide, wide + dust, wide + narrow + dust, torch.full(shape, 0.3)])
    mixed = mixed.to(DEVICE)
    assert torch.equal(by("triton", pa.equalize, mixed), by("torch", pa.equalize, mixed))


# --- operators ----------------------------------------------------------------------------------------------------------


class Calls(TorchDispatchMode):
    """The arguments of the first call of each of the project's operators."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator.namespace == "pcs_augment" and operator not in self.seen:
            self.seen[operator] = tuple(a.clone() if isinstance(a, torch.Tensor) else a for a in args)
        return operator(*args, **(kwargs or {}))


def operator_calls():
    images, targets = random_images(2, 10, 12, 2), random_targets([2, 1], 10, 12)
    calls = Calls()
    for step in (*STEPS, pa.Pipeline([pa.Rotate90(), pa.Flip()])):  # together, these move pixels once
        plan = step.draw(images.shape, targets)
        arguments = on_device(images, targets)
        with calls:
            for kernels in ("numba", "torch"):  # images one by one, and whole batches
                by(kernels, step.apply, *arguments, plan)
    with calls:
        pa.equalize(images.to(DEVICE))
        halves(torch.tensor([[1, 2], [3, 4]], device=DEVICE), 2, 5)  # which other operators call
    return calls.seen


def test_operators_keep_to_their_schemas(monkeypatch):
    seen = operator_calls()
    names = {n for n in torch._C._dispatch_get_all_op_names() if n.startswith("pcs_augment::")}
    assert {operator.name() for operator in seen} == names
    for kernels in ("torch", "triton"):
        monkeypatch.setenv("PCS_AUGMENT_KERNELS", kernels)
        checks = ["test_schema", "test_autograd_registration", "test_faketensor"]
        if kernels == "torch":  # tracing does not look inside, and takes long
            checks.append("test_aot_dispatch_dynamic")
        for operator, args in seen.items():
            assert set(torch.library.opcheck(operator, args, test_utils=checks).values()) == {"SUCCESS"}


def test_fake_results_have_the_shapes_and_types_of_real_ones():
    meta = {o: tuple(a.to("meta") if isinstance(a, torch.Tensor) else a for a in args) for o, args in operator_calls().items()}
    for operator, args in operator_calls().items():
        fake = operator(*meta[operator])
        real = by("triton", operator, *args)
        assert (fake is None) == (real is None)
        if real is not None:
            assert (fake.shape, fake.dtype) == (real.shape, real.dtype)


def test_operators_compile_in_one_graph():
    images = random_images(2, 8, 9).to(DEVICE)
    keys = torch.tensor([[1, 2], [3, 4]])
    polygon, corners = torch.tensor([[1.0, 1], [7, 1], [4, 6]], dtype=torch.float64), torch.tensor([3])

    def brighter(x):
        out = x * 0.5
        torch.ops.pcs_augment.scale(out, torch.tensor([0, 1]), torch.tensor([1.5, 0.5], dtype=torch.float64))
        numbers = torch.ops.pcs_augment.halves(keys.to(x.device), 2, 5)
        spread = torch.ops.pcs_augment.object_spread(out, torch.tensor([1]), polygon, corners, 2.0)
        return out + 1, numbers * 2, spread

    want = by("torch", brighter, images)
    for backend in ("eager", "aot_eager"):
        torch._dynamo.reset()
        compiled = torch.compile(brighter, fullgraph=True, backend=backend)
        for kernels in ("torch", "triton"):
            for a, b in zip(by(kernels, compiled, images), want, strict=True):
                assert torch.equal(a, b)
