"""Every step alone: same calls, own p, own seed, and the law of what it does."""

import numpy as np
import pytest
import torch
from batches import random_images, random_targets
from hypothesis import given, settings
from hypothesis import strategies as st

import pcs_augment as pa

STEPS = [
    pa.Highlight,
    pa.Splines,
    pa.Displace,
    pa.GaussianNoise,
    pa.ImpulseNoise,
    pa.Brightness,
    pa.Contrast,
    pa.InterferenceLayer,
    pa.PerlinLayer,
    pa.Overlay,
    pa.Blur,
    pa.Rotate90,
    pa.Flip,
]
every = pytest.mark.parametrize("kind", STEPS, ids=lambda k: k.__name__)


@every
def test_p_zero_does_nothing_and_p_one_always_does(kind):
    images, targets = random_images(20, 24, 24), random_targets([12] * 20, 24, 24)
    untouched, same = kind(p=0.0)(images, targets)
    assert torch.equal(untouched, images)
    assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(same, targets))
    changed, _ = kind(p=1.0, seed=3)(images, targets)
    touched = (changed != images).flatten(1).any(1).float().mean()
    # quarter turns and flips have "none" among their choices; a highlight may find no object to paint
    assert touched >= {"Rotate90": 0.5, "Flip": 0.4, "Highlight": 0.8}.get(kind.__name__, 0.95)


@every
@settings(max_examples=10)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**63), st.integers(1, 3))
def test_a_step_alone_obeys_the_laws(kind, height, width, seed, channels):
    images, targets = random_images(3, height, width, channels), random_targets([0, 3, 1], height, width)
    step = kind(p=0.7, seed=seed)
    out, _ = step(images, targets, index=[4, 5, 6], epoch=1)
    assert out.shape == images.shape
    assert torch.isfinite(out).all()
    assert 0 <= float(out.min()) <= float(out.max()) <= 1
    for i in range(3):
        assert torch.equal(step(images[i : i + 1], targets[i : i + 1], index=[4 + i], epoch=1)[0][0], out[i])
    plan = step.draw(images.shape, targets, index=[4, 5, 6], epoch=1)
    assert torch.equal(step.apply(images, targets, plan)[0], out)


@every
def test_flat_images_survive(kind):
    for value in (0.0, 0.5, 1.0):
        out = kind(seed=2)(torch.full((2, 1, 9, 13), value))
        assert torch.isfinite(out).all()


def test_a_step_in_a_pipeline_at_position_0_is_the_step_alone():
    images = random_images(4, 16, 16)
    assert torch.equal(pa.Pipeline([pa.GaussianNoise()], seed=9)(images), pa.GaussianNoise(seed=9)(images))


def test_noise_layers_leave_a_flat_image_alone():
    flat = torch.full((2, 1, 40, 40), 0.37)
    for kind in (pa.PerlinLayer, pa.InterferenceLayer):
        assert torch.allclose(kind(seed=1)(flat), flat, atol=1e-6)


def test_noise_layers_darken_more_than_they_brighten():
    """Dark parts of the layer weigh up to four times as much as bright ones."""
    grey = 0.5 + 0.2 * torch.sign(torch.rand(64, 1, 64, 64) - 0.5)
    for kind in (pa.PerlinLayer, pa.InterferenceLayer):
        out = kind(seed=1)(grey)
        assert float((out - grey).mean()) < -0.02


def test_brightness_and_contrast_are_their_formulas():
    images = random_images(30, 11, 7)
    plan = (step := pa.Brightness(seed=1)).draw(images.shape)
    factor = torch.from_numpy(plan.steps[0]["images"]["factor"]).view(-1, 1, 1, 1)
    assert torch.allclose(step(images, index=range(len(images))).double(), (images.double() * factor).clamp(0, 1), atol=1e-6)
    plan = (step := pa.Contrast(seed=1)).draw(images.shape)
    factor = torch.from_numpy(plan.steps[0]["images"]["factor"]).view(-1, 1, 1, 1)
    middle = images.double().mean((1, 2, 3), keepdim=True)
    assert torch.allclose(
        step(images, index=range(len(images))).double(), ((images.double() - middle) * factor + middle).clamp(0, 1), atol=1e-6
    )


def test_displacement_rolls_rows_then_columns():
    image = random_images(1, 9, 14)
    step = pa.Displace(reach=2, seed=5)
    out = step(image, index=range(len(image)))[0, 0].numpy()
    from pcs_augment.rng import LANE_DISPLACE, halves

    table = step.draw(image.shape).steps[0]["images"]
    key = torch.tensor([int(table["key0"][0]), int(table["key1"][0])])
    shift = ((halves(key, LANE_DISPLACE, 9 + 14) * 5) >> 16).numpy() - 2
    want = np.stack([np.roll(row, s) for row, s in zip(image[0, 0].numpy(), shift[:9])])
    want = np.stack([np.roll(column, s) for column, s in zip(want.T, shift[9:])]).T
    assert np.array_equal(out, want)
    assert set(np.unique(shift)) <= {-2, -1, 0, 1, 2}


def test_the_overlay_blackens_its_borders_and_only_those():
    images = torch.ones(200, 1, 100, 80)
    step = pa.Overlay(kernels=(1,), seed=3)
    out = step(images, index=range(len(images)))[:, 0]
    table = step.draw(images.shape).steps[0]["images"]
    y, x = torch.meshgrid(torch.arange(100) + 0.5, torch.arange(80) + 0.5, indexing="ij")
    for i in range(200):
        row = {k: float(v[i]) for k, v in table.items()}
        if row["round"]:
            want = (x - row["x"]) ** 2 + (y - row["y"]) ** 2 <= row["radius"] ** 2
        else:
            want = (x > row["left"]) & (x < row["right"]) & (y > row["top"]) & (y < row["bottom"])
            assert 1 <= (~want).all(0).sum() <= 31
            assert 1 <= (~want).all(1).sum() <= 31
        assert (out[i].bool() != want).sum() <= 2
    assert 0 < table["round"].sum() < 200


@settings(max_examples=30)
@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([3, 5, 9, 31]), st.one_of(st.none(), st.floats(0.3, 5)))
def test_blur_is_a_weighted_mean_with_mirrored_borders(height, width, kernel, sigma):
    image = random_images(1, height, width)
    out = pa.Blur(kernels=(kernel,), sigma=sigma)(image)
    s = sigma if sigma is not None else 0.3 * ((kernel - 1) / 2 - 1) + 0.8
    reach = np.arange(kernel) - kernel // 2
    taps = np.exp(-0.5 * (reach / s) ** 2)
    taps /= taps.sum()

    def mirrored(n):
        at = np.abs(np.arange(-(kernel // 2), n + kernel // 2)) % max(1, 2 * (n - 1))
        return np.minimum(at, 2 * (n - 1) - at) if n > 1 else np.zeros_like(at)

    x = image[0, 0].double().numpy()[mirrored(height)][:, mirrored(width)]
    want = sum(taps[i] * taps[j] * x[i : i + height, j : j + width] for i in range(kernel) for j in range(kernel))
    assert np.abs(out[0, 0].numpy() - want).max() < 1e-5


def test_highlights_paint_later_over_earlier_and_twice_where_copies_overlap():
    box = torch.tensor([[20.0, 20, 24, 12, 0], [20, 20, 4, 4, 0]])
    image = torch.full((1, 1, 40, 40), 0.5)
    step = pa.Highlight(fill=1, second=1, kernels=(1,), seed=8)
    out = step(image, [{"boxes": box}], index=range(len(image)))[0][0, 0] - 0.5
    table = step.draw(image.shape, [{"boxes": box}]).steps[0]["objects"]
    way = np.sign(table["dy"])
    assert np.allclose(np.abs(table["dy"]), [6, 2])
    assert np.allclose(table["dx"], 0)
    # the copy of the first box, moved by 6 px, covers one half of it; the second box lies on top of both
    assert float(out[20 + int(4 * way[0]), 10]) == pytest.approx(table["other"][0], abs=1e-6)
    assert float(out[20 - int(4 * way[0]), 10]) == pytest.approx(table["offset"][0], abs=1e-6)
    inside = sorted({round(float(v), 5) for v in out[18:22, 18:22].flatten()})
    assert inside == sorted({round(float(table["offset"][1]), 5), round(float(table["other"][1]), 5)})
    assert float(out[5, 5]) == 0


def test_the_mirrored_highlight_goes_the_other_way():
    targets = random_targets([30], 50, 50)
    ours, published = (
        pa.Highlight(fill=1, mirrored=m).draw((1, 1, 50, 50), targets).steps[0]["objects"] for m in (False, True)
    )
    assert np.allclose(ours["dx"], -published["dx"])
    assert np.allclose(ours["dy"], published["dy"])


@pytest.mark.parametrize(("width", "pixels"), [(1, 1), (2, 2)])
def test_outlines_have_their_width(width, pixels):
    image = torch.full((1, 1, 40, 40), 0.5)
    target = {"boxes": torch.tensor([[20.0, 20.0, 20, 10, 0]])}
    target["boxes"][0, 1] += 0.5 if width == 1 else 0  # a line of one pixel runs through pixel centres
    step = pa.Highlight(fill=0, outline=1, width=(width, width), kernels=(1,), grey=(165, 165))
    out = (step(image, [target], index=range(len(image)))[0][0, 0] - 0.5).abs() > 0.01
    assert int(out[:, 20].sum()) == 2 * pixels
    assert not out[20, 20]


def test_splines_pass_through_their_knots():
    from scipy.interpolate import CubicSpline

    from pcs_augment.steps.splines import curve_points

    step = pa.Splines(curves=(10, 10), seed=2)
    table = step.draw((5, 1, 60, 90)).steps[0]["curves"]
    table["angle"][:] = 0
    points = curve_points(table, 60, 90)
    for i, m in enumerate(table["knots"]):
        x = np.linspace(0, 90, m)
        y = [table[f"height{j}"][i] for j in range(m)]
        assert np.allclose(points[i, :, 0], np.linspace(0, 90, 100))
        assert np.allclose(points[i, :, 1], CubicSpline(x, y, bc_type="not-a-knot")(np.linspace(0, 90, 100)), atol=1e-8)


def test_later_splines_lie_on_top():
    step = pa.Splines(curves=(2, 2), widths=(3.0,), seed=0)
    image = torch.full((1, 1, 64, 64), 0.5)
    plan = step.draw(image.shape)
    table = plan.steps[0]["curves"]
    for column in table:
        if column != "sample":
            table[column][1] = table[column][0]  # the same curve twice
    table["offset"][:] = (0.4, -0.3)
    out = step.apply(image, None, plan)[0]
    assert float(out.min()) == pytest.approx(0.2, abs=1e-6)
    assert float(out.max()) < 0.5 + 0.4 * 0.3


def test_rotation_of_images_that_are_not_square_is_by_half_turns():
    images = random_images(50, 8, 12)
    kinds = pa.Rotate90().draw(images.shape).steps[0]["images"]["kind"]
    assert set(kinds) == {0, 2}
    assert set(pa.Rotate90().draw((200, 1, 8, 8)).steps[0]["images"]["kind"]) == {0, 1, 2, 3}
