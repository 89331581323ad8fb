"""What the steps that imitate photographs draw and paint, against what their documentation says."""

import io

import numpy as np
import pytest
import torch
from batches import random_images, random_targets
from PIL import Image

import pcs_augment as pa
from pcs_augment import steps
from pcs_augment.steps import camera, drop, grain, illumination, polarisers, scratches, wall
from pcs_augment.transfer import to_device


def uniform(values, low, high):
    """Whether values are uniform on [low, high], by Kolmogorov's test at 0.1 %."""
    share = (np.sort(values) - low) / (high - low)
    assert share.min() >= 0
    assert share.max() <= 1
    return np.abs(share - (np.arange(len(share)) + 0.5) / len(share)).max() < 1.95 / np.sqrt(len(share))


def columns(step, table="images", shape=(4000, 1, 40, 60), targets=None):
    return step.draw(shape, targets).steps[0][table]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (pa.Vignette(), {"fall": (0, 0.5), "x": (-0.3, 0.3), "y": (-0.3, 0.3), "a": (-0.3, 0.3), "b": (-0.3, 0.3)}),
        (pa.Invert(), {"black": (0, 0.3), "gain": (0.7, 1.5)}),
        (pa.Saturate(), {"low": (0, 0.2)}),
        (pa.Sharpen(), {"amount": (0.3, 2)}),
        (pa.JPEG(), {"quality": (40, 95)}),
        (pa.WellWall(clear=0), {"through": (0, 0.06), "level": (0, 0.04), "grain": (6, 16), "shade": (0, 0.5)}),
        (pa.DropEdge(), {"dark": (0.3, 1), "middle": (0.7, 1.5), "lean": (0, 1), "patches": (0, 0.08)}),
        (pa.CrossedPolarisers(), {"ground": (0.02, 0.25)}),
    ],
)
def test_numbers_are_uniform_over_their_documented_ranges(step, expected):
    table = columns(step)
    for name, (low, high) in expected.items():
        assert uniform(table[name], low, high), name


def test_chances_and_logarithms():
    table = columns(pa.DropEdge(p=0.3))
    n = len(table["sample"])
    assert abs(n - 1200) < 4 * np.sqrt(4000 * 0.3 * 0.7)
    assert uniform(np.log(table["radius"] / 40), np.log(0.4), np.log(2.5))
    assert uniform(np.log(table["reach"] / table["radius"]), np.log(0.03), np.log(0.6))
    assert abs((table["outside"] < 0.5).mean() - 0.15) < 4 * np.sqrt(0.15 * 0.85 / n)
    table = columns(pa.WellWall())
    assert abs((table["other"] < 1e5).mean() - 0.35) < 4 * np.sqrt(0.35 * 0.65 / 4000)
    assert abs(table["clear"].mean() - 0.1) < 4 * np.sqrt(0.09 / 4000)
    lines = columns(pa.Scratches(), "lines")
    per_image = np.bincount(lines["sample"], minlength=4000)
    assert set(per_image) == {1, 2, 3, 4}
    assert np.abs(np.bincount(per_image)[1:] / 4000 - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 4000)
    edges = lines["length"] < 1e-3
    assert abs(edges.mean() - 0.35) < 4 * np.sqrt(0.35 * 0.65 / len(edges))
    assert uniform(np.log(1 / lines["width"][edges]), np.log(0.5), np.log(8))  # half of 1 to 16 px
    things = columns(pa.Debris(groups=(1, 1)), "things")
    dust = (things["radius"] < 2.5) & (things["core"] < -0.25)
    assert uniform(np.log(things["radius"][dust]), np.log(0.7), np.log(2.5))


def test_grain_is_directed_and_lit():
    """Along its direction grain changes less than across; the ratio grows with the stretch."""
    images = torch.full((1, 1, 160, 160), 0.5)
    step = pa.Grain(sigma=(8, 8), stretch=5)
    ratios = []
    for i in range(40):
        table = step.draw(images.shape, index=[i]).steps[0]["images"]
        if table["bare"][0] > -1:
            continue
        out = step(images, index=[i])[0, 0].numpy()
        gradient = np.stack(np.gradient(out)[::-1]).reshape(2, -1)
        values, vectors = np.linalg.eigh(gradient @ gradient.T)
        u = np.array([table["ux"][0], table["uy"][0]])
        v = np.array([table["vx"][0], table["vy"][0]])
        stretch = np.hypot(*v) / np.hypot(*u)
        ratios.append((stretch, values[1] / values[0], abs(vectors[:, 0] @ u) / np.hypot(*u)))
    ratios = np.array(ratios)
    long = ratios[ratios[:, 0] > 2.5]
    assert len(long) >= 3
    assert (long[:, 1] > 2).all()  # squared gradients
    assert (long[:, 2] > 0.9).all()  # least along the grains


def test_the_high_pass_of_grain_lies_where_photographs_have_it():
    """Photographs have a deviation of 4 to 11 grey levels about a Gaussian mean of 3 px; so has grain of most strengths."""
    images = torch.full((60, 1, 128, 128), 0.5)
    out = pa.Grain()(images)
    from pcs_augment import gaussian

    taps = torch.from_numpy(gaussian.weights(np.full(60, 19), 3.0))
    high = (out - gaussian.blur(out, taps)).std((1, 2, 3)) * 255
    assert high.max() < 13
    assert (high > 2).float().mean() > 0.5
    assert ((high > 4) & (high < 11)).float().mean() > 0.25


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_jpeg_is_that_of_the_library(quality):
    y, x = np.meshgrid(np.arange(64), np.arange(96), indexing="ij")
    grey = (127 + 60 * np.sin(x / 7 + y / 11) + 40 * ((x // 9 + y // 13) % 2)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=quality)
    expected = np.asarray(Image.open(file)).astype(float)
    step = pa.JPEG(quality=(quality, quality))
    image = torch.from_numpy(grey)[None, None]
    # blocks that begin where the library's do
    index = next(
        i for i in range(500) if all(step.draw((1, 1, 64, 96), index=[i]).steps[0]["images"][c] == 0 for c in ("left", "top"))
    )
    ours = step(image, index=[index])[0, 0].numpy() * 255
    assert np.abs(ours - expected).mean() < 0.6  # it rounds to whole levels, and its transform to whole numbers
    assert (np.abs(ours - expected) > 2).mean() < 0.04  # where a coefficient lay between two steps


def test_sharpening_leaves_planes_alone_and_widens_edges():
    step = pa.Sharpen()
    assert torch.allclose(step(torch.full((1, 1, 20, 20), 0.3)), torch.full((1, 1, 20, 20), 0.3), atol=1e-6)
    image = torch.full((1, 1, 20, 20), 0.3)
    image[..., 10:] = 0.6
    out = step(image)
    assert out.min() < 0.29
    assert out.max() > 0.61
    assert torch.allclose(out[..., 0], image[..., 0], atol=1e-6)


def test_light_between_polarisers_follows_the_angle():
    """Bright as sin^2 of twice the angle, and dark objects dropped: those that stay are brighter than the ground."""
    boxes = torch.tensor([[60.0, 60, 60, 20, a] for a in np.linspace(-1.5, 1.5, 40)])
    targets = [{"boxes": boxes[i : i + 1]} for i in range(40)]
    images = torch.full((40, 1, 120, 120), 0.5)
    step = pa.CrossedPolarisers(bright=(0.5, 0.5))
    plan = step.draw(images.shape, targets)
    out, new = step.apply(images, targets, plan)
    objects, ground = plan.steps[0]["objects"], plan.steps[0]["images"]["ground"]
    assert objects["grey"].min() >= 0
    assert objects["grey"].max() <= 0.5
    # of uniform angles, sin^2 has the arcsine distribution, whose mean is one half
    many = step.draw((400, 1, 120, 120), [targets[0]] * 400).steps[0]["objects"]["grey"] / 0.5
    assert abs(many.mean() - 0.5) < 4 * np.sqrt(1 / 8 / 400)
    assert uniform(2 / np.pi * np.arcsin(np.sqrt(many)), 0, 1)
    for i in range(40):
        keep = bool(new[i]["keep"][0])
        assert keep == (objects["grey"][i] >= 0.06)
        assert torch.allclose(out[i, 0, :5, :5], torch.tensor(float(ground[i])), atol=1e-4)
        if keep and objects["fringe"][i] == 0:
            assert out[i, 0, 55:65, 55:65].mean() > ground[i] + 0.02


@pytest.mark.parametrize("angle", [0.0, 0.6, -1.5])
def test_edges_between_polarisers_stay_dark(angle):
    """Lit faces are the outlines less up to 4 px, at most 12 % of the shorter side, on each of their sides."""
    sides = np.array([[60.0, 20.0], [200.0, 100.0], [9.0, 6.0], [1.0, 1.0]])
    boxes = torch.from_numpy(np.concatenate((np.full((4, 2), 128.0), sides, np.full((4, 1), angle)), 1))
    tables = pa.CrossedPolarisers().draw((500, 1, 256, 256), [{"boxes": boxes}] * 500).steps[0]
    corners = np.stack([tables["masks"][c].reshape(500, 4, 4) for c in "xy"], -1) - 128
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    edge = sides / 2 - np.abs(corners @ turn).max(2)
    assert np.allclose(edge[..., 0], edge[..., 1], atol=1e-4)
    for k, most in enumerate([2.4, 4.0, 0.72, 0.12]):
        assert edge[:, k].min() >= -1e-4
        assert edge[:, k].max() <= most + 1e-4
    assert uniform(edge[:, 1, 0], 0, 4)


def test_marks_stay_inside_outlines_of_large_objects():
    images = torch.full((30, 1, 100, 100), 0.5)
    targets = [{"boxes": torch.tensor([[50.0, 50, 60, 30, 0.4], [10, 10, 7, 5, 0.0]])}] * 30
    step = pa.Marks(each=1.0)
    table = step.draw(images.shape, targets).steps[0]["objects"]
    assert (table["object"] == 0).all()
    out = step(images, targets)[0]
    corners = pa.boxes.box_corners(np.array([[50, 50, 60, 30, 0.4]]))[0]
    y, x = np.meshgrid(np.arange(100) + 0.5, np.arange(100) + 0.5, indexing="ij")
    inside = np.ones((100, 100), bool)
    for a, b in zip(corners, np.roll(corners, -1, 0)):
        inside &= (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) >= -1e-3
    assert torch.equal(out[:, 0][:, ~inside], images[:, 0][:, ~inside])
    assert ((out[:, 0][:, inside] - 0.5).abs().amax(1) > 0.02).float().mean() > 0.7
    drawn = step.draw((4000, 1, 100, 100), [targets[0]] * 4000).steps[0]["objects"]
    for name, chance in (("facet", 0.6), ("ring", 0.4), ("step", 0.3), ("rough", 0.15)):
        assert abs((drawn[name] != 0).mean() - chance) < 4 * np.sqrt(chance * (1 - chance) / 4000), name


def test_debris_lies_where_it_was_drawn():
    images = torch.full((1, 1, 120, 120), 0.5)
    step = pa.Debris(groups=(1, 1))
    for i in range(20):
        table = step.draw(images.shape, index=[i]).steps[0]["things"]
        out = step(images, index=[i])[0, 0].numpy()
        y, x = np.meshgrid(np.arange(120) + 0.5, np.arange(120) + 0.5, indexing="ij")
        near = np.zeros((120, 120), bool)
        for cx, cy, r in zip(table["x"], table["y"], table["radius"]):
            near |= (x - cx) ** 2 + (y - cy) ** 2 <= (max(1.6 * r, 1.5) * np.sqrt(2) + 1.5) ** 2
        assert (out[~near] == 0.5).all()
        on_picture = (table["x"] > 3) & (table["x"] < 117) & (table["y"] > 3) & (table["y"] < 117)
        if on_picture.any():
            assert (out != 0.5).any()


def at_once(images, sample, change, *values):
    """What ``update`` does on a GPU, here too."""
    if len(sample):
        rows = [to_device(v.numpy(), images.device) for v in values]
        images.index_copy_(0, sample, change(images.index_select(0, sample), *rows))


@pytest.mark.parametrize(
    "step",
    [
        *(pa.WellWall(), pa.DropEdge(), pa.Grain(), pa.Vignette(), pa.Invert(), pa.Scratches(), pa.CrossedPolarisers()),
        *(pa.Debris(), pa.Marks(each=1.0), pa.Saturate(), pa.Sharpen(), pa.JPEG()),
    ],
    ids=lambda s: type(s).__name__,
)
def test_a_batch_at_once_is_its_images_one_by_one(step, monkeypatch):
    images, targets = random_images(5, 61, 44, 2), random_targets([3, 0, 6, 4, 5], 61, 44)
    plan = step.draw(images.shape, targets)
    one_by_one, _ = step.apply(images, targets, plan)
    for module in (camera, drop, grain, illumination, polarisers, scratches, wall):
        monkeypatch.setattr(module, "update", at_once)
    monkeypatch.setattr(pa.stamps, "parts", lambda sample, device: [slice(0, len(sample))] if len(sample) else [])
    together, _ = step.apply(images, targets, plan)
    torch.testing.assert_close(together, one_by_one, rtol=0, atol=2e-5)
    assert not torch.equal(together, images)


def test_a_crop_of_a_batch_at_once_is_its_images_one_by_one():
    images = random_images(4, 30, 41, 2)
    crop = steps.crop
    start, scale = np.array([0.0, 1.5, 3, 2.25]), np.array([1, 0.6, 2, 1.3])
    down = [torch.from_numpy(v) for v in crop._taps(start, scale, 30, 16)]
    across = [torch.from_numpy(v) for v in crop._taps(start, scale, 41, 18)]
    together = crop.resampled(images, *down, *across)
    for i in range(4):
        one = crop.resampled(images[i : i + 1], *(v[i : i + 1] for v in (*down, *across)))
        assert torch.equal(one[0], together[i])


def test_kornia_refuses_what_cuts_objects():
    kornia = pytest.importorskip("pcs_augment.interop.kornia", exc_type=ImportError)
    with pytest.raises(pa.InputError, match="RandomCrop removes objects"):
        kornia.wrap_pipeline(pa.microscope_pipeline())
    assert len(kornia.wrap_pipeline(pa.Pipeline([pa.MinEdge(2), pa.Grain(), pa.KeepDetectable()]))) == 1
