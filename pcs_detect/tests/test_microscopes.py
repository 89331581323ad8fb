"""Files of microscopes' own formats. No file of a microscope can be had here: what is tested is what is made of what the
packages that read them say, with one that says it from memory."""

import sys
import types
from contextlib import contextmanager

import numpy as np
import pytest

from pcs_detect.errors import DataError
from pcs_detect.photographs import frames_of, read_levels, read_photograph

PIXELS = np.arange(2 * 3 * 2 * 5 * 7, dtype=np.uint16).reshape(2, 3, 2, 5, 7)  # T, Z, C, Y, X


def module(monkeypatch, name, kind, **attributes):
    """A package of a name whose class of a file has these attributes."""

    @contextmanager
    def opened(path):
        yield types.SimpleNamespace(**attributes)

    monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**{kind: opened}))


def nd2(monkeypatch):
    moments = types.SimpleNamespace
    module(
        monkeypatch,
        "nd2",
        "ND2File",
        sizes=dict(zip("TZCYX", PIXELS.shape)),
        dtype=PIXELS.dtype,
        metadata=moments(channels=[1]),
        voxel_size=lambda: moments(x=0.65, y=0.65),
        frame_metadata=lambda k: moments(channels=[moments(time=moments(relativeTimeMs=1800e3 * (k // 3) + 500))]),
        read_frame=lambda k: PIXELS.reshape(6, 2, 5, 7)[k],
        attributes=moments(bitsPerComponentSignificant=12),
    )


DISTANCE = '<Distance Id="{}"><Value>6.5e-07</Value></Distance>'
SCALING = f"<A><Scaling><Items>{DISTANCE.format('X')}{DISTANCE.format('Y')}</Items></Scaling></A>"


def block(pixels, scene, x, stored=None):
    """A part of a CZI in czifile up to 2019: pixels of (S, ..., Y, X, 0), which lie x px to the right."""
    start = (scene, *[0] * (pixels.ndim - 3), x, 0)
    segment = types.SimpleNamespace(data=lambda: pixels)
    shapes = {"shape": pixels.shape, "stored_shape": stored or pixels.shape}
    return types.SimpleNamespace(start=start, data_segment=lambda: segment, **shapes)


def czi(monkeypatch, pixels=PIXELS[None, ..., None], axes="STZCYX0", more=()):
    """Scenes lie side by side, with space between them, each of two blocks of which one begins with the other's last column."""
    cut = pixels.shape[-2] // 2
    blocks = []
    for k in range(len(pixels)):
        scene = pixels[k : k + 1]
        blocks += [block(scene[..., : cut + 1, :], k, 100 * k), block(scene[..., cut:, :], k, 100 * k + cut)]
    module(
        monkeypatch, "czifile", "CziFile", axes=axes, dtype=pixels.dtype, metadata=lambda: SCALING,
        filtered_subblock_directory=[*blocks, *more],
    )  # fmt: skip


def czi_of_2026(monkeypatch, pixels=PIXELS[None], dims="TZCYX"):
    """Whose scenes are there as they are, without axes of length 1."""
    scenes = {
        10 + k: types.SimpleNamespace(
            dims=tuple(dims), sizes=dict(zip(dims, scene.shape)), dtype=scene.dtype, asarray=lambda scene=scene: scene
        )
        for k, scene in enumerate(pixels)
    }
    module(monkeypatch, "czifile", "CziFile", scenes=scenes, metadata=lambda: SCALING)


def lif(monkeypatch):
    image = types.SimpleNamespace(
        dims=tuple("TZCYX"),
        sizes=dict(zip("TZCYX", PIXELS.shape)),
        dtype=PIXELS.dtype,
        coords={"X": np.arange(7) * 6.5e-7, "Y": np.arange(5) * 6.5e-7},
        timestamps=None,
        asarray=lambda: PIXELS,
    )
    line = types.SimpleNamespace(dims=("X",), sizes={"X": 7}, dtype=PIXELS.dtype, coords={}, timestamps=None)
    module(monkeypatch, "liffile", "LifFile", images=[line, image])


@pytest.mark.parametrize(("made", "name"), [(nd2, "a.nd2"), (czi, "a.CZI"), (czi_of_2026, "a.czi"), (lif, "a.lif")])
def test_every_plane_is_a_photograph_with_its_scale(tmp_path, monkeypatch, made, name):
    made(monkeypatch)
    path = tmp_path / name
    path.write_bytes(b"stands for a file")
    frames = frames_of(path)
    assert [f.number for f in frames] == list(range(1, 13))
    assert [f.scale.um_per_px for f in frames] == pytest.approx([0.65] * 12)
    assert {f.planes for f in frames} == {3}
    for frame, expected in zip(frames, PIXELS.reshape(12, 5, 7)):
        np.testing.assert_array_equal(read_levels(frame).pixels, expected)
    projected = frames_of(path, "max")
    assert len(projected) == 4
    for frame, expected in zip(projected, PIXELS.max(1).reshape(4, 5, 7)):
        np.testing.assert_array_equal(read_levels(frame).pixels, expected)
    if made is nd2:
        assert [f.hours for f in frames] == [0.0] * 6 + [0.5] * 6
        assert read_levels(frames[0]).white == 4095


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize(("scenes", "times"), [(1, 1), (3, 1), (3, 2)])
@pytest.mark.parametrize("made", [czi, czi_of_2026])
def test_every_scene_of_a_czi_is_a_photograph(tmp_path, monkeypatch, made, scenes, times, samples):
    """czifile up to 2019 calls scenes S and the samples of a pixel 0; of these, both kinds give red, green, blue."""
    pixels = np.arange(scenes * times * 5 * 7 * samples, dtype=np.uint16).reshape(scenes, times, 1, 1, 5, 7, samples)
    if made is czi:
        czi(monkeypatch, pixels)
    else:
        dims = "".join(a for a, n in zip("TYXS", (times, 2, 2, samples)) if n > 1)
        czi_of_2026(monkeypatch, pixels.squeeze(tuple(i for i in range(1, 7) if pixels.shape[i] == 1)), dims)
    path = tmp_path / "a.czi"
    path.write_bytes(b"stands for a file")
    frames = frames_of(path)
    count = scenes * times
    assert [f.ending for f in frames] == ([""] if count == 1 else [f"#{k:04d}" for k in range(1, count + 1)])
    assert {f.size for f in frames} == {(5, 7)}
    for frame, expected in zip(frames, pixels.reshape(count, 5, 7, samples)):
        np.testing.assert_array_equal(np.atleast_3d(read_levels(frame).pixels), expected)
    assert read_photograph(f"{path}{frames[-1].ending}").shape == (5, 7)


def test_planes_of_a_scene_are_projected_by_themselves(tmp_path, monkeypatch):
    pixels = np.arange(2 * 3 * 5 * 7, dtype=np.uint16).reshape(2, 1, 3, 1, 5, 7, 1)
    czi(monkeypatch, pixels)
    (tmp_path / "a.czi").write_bytes(b"stands for a file")
    frames = frames_of(tmp_path / "a.czi", "max")
    assert [f.number for f in frames] == [1, 2]
    for frame, expected in zip(frames, pixels.max(2).reshape(2, 5, 7)):
        np.testing.assert_array_equal(read_levels(frame).pixels, expected)


def test_smaller_versions_inside_a_czi_replace_no_pixels(tmp_path, monkeypatch):
    pixels = PIXELS[None, :1, :1, :1, ..., None]
    czi(monkeypatch, pixels, more=[block(np.zeros_like(pixels), 0, 0, stored=(1, 1, 1, 1, 2, 3, 1))])
    (tmp_path / "a.czi").write_bytes(b"stands for a file")
    np.testing.assert_array_equal(read_levels(frames_of(tmp_path / "a.czi")[0]).pixels, PIXELS[0, 0, 0])


@pytest.mark.parametrize(("name", "package"), [("a.nd2", "nd2"), ("a.czi", "czifile"), ("a.lif", "liffile")])
def test_without_the_package_the_error_says_what_to_install(tmp_path, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r'export TIFF.*pip install "\./pcs_detect\[microscopes\]"'):
        read_photograph(tmp_path / name)


def test_a_compression_that_is_not_read_is_named(tmp_path, monkeypatch):
    def failing():
        raise KeyError(6)

    part = block(PIXELS[None, ..., None], 0, 0)
    part.data_segment = lambda: types.SimpleNamespace(data=failing)
    czi(monkeypatch, more=[part])
    (tmp_path / "a.czi").write_bytes(b"x")
    with pytest.raises(DataError, match=r"cannot read.*export TIFF"):
        read_levels(frames_of(tmp_path / "a.czi")[0])
