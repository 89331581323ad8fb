import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from pcs_detect import photographs
from pcs_detect.errors import DataError, InputError
from pcs_detect.photographs.decoders import opened_by_pillow


def colours(height=20, width=30, depth=255, seed=0):
    return np.random.default_rng(seed).integers(0, depth + 1, (height, width, 3))


def luma(rgb):
    return rgb @ np.array([0.299, 0.587, 0.114])


GREY8 = colours()[..., 0].astype(np.uint8)
RGB8 = colours().astype(np.uint8)
GREY16 = colours(depth=65535)[..., 0].astype(np.uint16)
RGB16 = colours(depth=65535).astype(np.uint16)
GREY16[0, 0] = RGB16[0, 0] = 65535


def pillow(image, name, **options):
    return lambda folder: image.save(folder / name, **options) or folder / name


def opencv(pixels, name):
    return lambda folder: cv2.imwrite(str(folder / name), pixels) and folder / name


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (pillow(Image.fromarray(GREY8), "a.png"), GREY8),
        (pillow(Image.fromarray(GREY8), "a.bmp"), GREY8),
        (pillow(Image.fromarray(GREY8), "a.TIF", compression="tiff_lzw"), GREY8),
        (pillow(Image.fromarray(RGB8), "a.png"), luma(RGB8)),
        (pillow(Image.fromarray(RGB8), "a.tif"), luma(RGB8)),
        (
            pillow(Image.fromarray(RGB8).convert("P"), "a.png"),
            luma(np.array(Image.fromarray(RGB8).convert("P").convert("RGB"))),
        ),
        (pillow(Image.fromarray(np.dstack([RGB8, GREY8])), "a.png"), luma(RGB8)),
        (pillow(Image.fromarray(np.dstack([GREY8, RGB8[..., 1]]), "LA"), "a.png"), GREY8),
        (pillow(Image.fromarray(GREY8 > 128), "a.png"), 255 * (GREY8 > 128)),
        (pillow(Image.fromarray(GREY16), "a.png"), GREY16 / 257),
        (pillow(Image.fromarray(GREY16), "a.tif"), GREY16 / 257),
        (opencv(RGB16[..., ::-1], "a.png"), luma(RGB16) / 257),
        (opencv(RGB16[..., ::-1], "a.tif"), luma(RGB16) / 257),
        (opencv(np.dstack([RGB16[..., ::-1], GREY16]), "a.tif"), luma(RGB16) / 257),
        (opencv((GREY16 / 65535).astype(np.float32), "a.tif"), GREY16 / 257),
        (opencv(GREY16.astype(np.float64), "a.tif"), GREY16 / 257),
    ],
)
def test_every_kind_of_file_gives_its_luma_from_0_to_255(tmp_path, write, expected):
    grey = photographs.read_photograph(write(tmp_path))
    assert grey.dtype == np.float32
    np.testing.assert_allclose(grey, expected, atol=1e-3 if np.max(expected) > 1 else 0)


def test_jpeg_is_read_up_to_its_losses(tmp_path):
    smooth = cv2.GaussianBlur(RGB8, (0, 0), 4)
    for mode in ("RGB", "L", "CMYK"):
        Image.fromarray(smooth).convert(mode).save(tmp_path / "a.jpg", quality=95, subsampling=0)
        assert abs(photographs.read_photograph(tmp_path / "a.jpg") - luma(smooth)).max() < 4


@pytest.mark.parametrize(("name", "compression"), [("a.jpg", None), ("a.png", None), ("a.tif", "tiff_lzw")])
def test_the_orientation_of_the_camera_is_undone(tmp_path, name, compression):
    picture = np.zeros((20, 40), np.uint8)
    picture[:5, :10] = 200  # top left
    exif = Image.Exif()
    exif[0x0112] = 6  # stored so that a quarter turn clockwise makes it upright
    Image.fromarray(picture).save(tmp_path / name, exif=exif, compression=compression)
    grey = photographs.read_photograph(tmp_path / name)
    assert grey.shape == (40, 20)
    assert grey[:8, -4:].mean() > 190
    assert grey[:, :14].mean() < 5


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)),
    st.sampled_from((255, 1023, 4095, 16383, 65535)),
)
def test_the_full_scale_is_the_smallest_that_holds_all_levels(levels, full):
    levels = np.minimum(levels, full)
    levels[0, 0] = full
    np.testing.assert_allclose(photographs.grey_values(levels), levels * (255 / full), atol=1e-3)
    np.testing.assert_allclose(photographs.grey_values(levels.astype(np.float64)), levels * (255 / full), atol=1e-3)
    expected = np.minimum(levels * (255 / 4095), 255)
    np.testing.assert_allclose(photographs.grey_values(levels, white=4095), expected, atol=1e-3)


@pytest.mark.parametrize("full", [1.0, 255.0, 4095.0])
@pytest.mark.parametrize("beyond", [1.0001, 1.02, 1.1])
def test_floating_point_may_leave_its_scale_a_little(full, beyond):
    levels = np.linspace(0, full, 6400, dtype=np.float32).reshape(80, 80)
    expected = photographs.grey_values(levels)
    levels[0, 0] = full * beyond * (1 - 1e-6)
    expected[0, 0] = 255
    np.testing.assert_allclose(photographs.grey_values(levels), expected, atol=1e-3)


def test_floating_point_that_is_neither_0_to_1_nor_0_to_255_is_a_question():
    for most in (1.2, 10.0):
        with pytest.raises(DataError, match="--white"):
            photographs.grey_values(np.linspace(0, most, 100).reshape(10, 10))
        assert photographs.grey_values(np.linspace(0, most, 100).reshape(10, 10), white=most).max() == 255


def test_a_white_that_8_bits_never_reach_is_refused():
    with pytest.raises(DataError, match="8-bit"):
        photographs.grey_values(np.zeros((3, 3), np.uint8), white=4095)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 2), (4, 5, 3), (4, 5, 4)])
def test_channels_that_say_the_same_are_one(shape):
    base = np.arange(20, dtype=np.uint8).reshape(4, 5) * 10
    pixels = base if len(shape) == 2 else np.repeat(base[..., None], shape[2], 2)
    np.testing.assert_allclose(photographs.grey_values(pixels), base, atol=1e-4)


@pytest.mark.parametrize(
    ("pixels", "named"),
    [
        (np.zeros((3, 4, 5)), r"\(3, 4, 5\)"),
        (np.zeros(7), r"\(7,\)"),
        (np.zeros((0, 4)), r"\(0, 4\)"),
        (np.array([[0.0, np.nan]]), "finite"),
        (np.array([[0.0, np.inf]]), "finite"),
        (np.array([["a"]]), "<U1"),
        (np.array([[1e12]]), "--white"),
    ],
)
def test_what_is_no_image_is_refused(pixels, named):
    with pytest.raises(DataError, match=named):
        photographs.grey_values(pixels)


@pytest.mark.parametrize("white", [0, -3.0, float("nan"), float("inf")])
def test_white_is_a_positive_level(white):
    with pytest.raises(InputError, match="white"):
        photographs.grey_values(np.zeros((2, 2)), white)


def encoded(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "deep.tif", "deep.png"])
def test_files_that_were_cut_short_are_refused(tmp_path, name, part):
    large = colours(100, 120).astype(np.uint8)
    path = tmp_path / name
    if name.startswith("deep"):
        cv2.imwrite(str(path), large.astype(np.uint16) * 257)
    else:
        Image.fromarray(large).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(DataError, match=name):
        photographs.read_photograph(path)


def large_png(path, width, height):
    """A white picture of one bit per pixel, which takes some kilobytes."""
    packer = zlib.compressobj()
    rows = (b"\0" + b"\xff" * -(-width // 8)) * 100
    data = b"".join(packer.compress(rows) for _ in range(height // 100)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(b)) + kind + b + struct.pack(">I", zlib.crc32(kind + b)) for kind, b in parts)
    )
    return path


def test_photographs_of_up_to_2_to_28_pixels_are_read(tmp_path):
    (frame,) = photographs.frames_of(large_png(tmp_path / "a.png", 15000, 13500))
    assert frame.size == (13500, 15000)
    for width, height in ((20000, 13500), (60000, 13500)):
        with pytest.raises(DataError, match=r"a\.png: .*are not read|a\.png: refused"):
            photographs.frames_of(large_png(tmp_path / "a.png", width, height))


@pytest.mark.parametrize(("name", "options"), [("a.png", {}), ("a.tif", {"compression": "tiff_lzw"})])
def test_the_limit_of_pillow_is_not_that_of_photographs_and_stays_as_it_is(tmp_path, monkeypatch, name, options):
    Image.fromarray(GREY8).save(tmp_path / name, **options)
    for limit in (100, None):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        np.testing.assert_array_equal(photographs.read_photograph(tmp_path / name), GREY8)
        with pytest.raises(DataError, match="no such"):
            photographs.read_photograph(tmp_path / "absent.png")
        assert limit == Image.MAX_IMAGE_PIXELS


def test_the_limit_of_pillow_returns_when_the_last_picture_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.fromarray(GREY8).save(tmp_path / "a.png")
    first, second = opened_by_pillow(tmp_path / "a.png"), opened_by_pillow(tmp_path / "a.png")
    with second as later:
        with first:
            pass
        np.testing.assert_array_equal(np.asarray(later), GREY8)
        assert GREY8.size < Image.MAX_IMAGE_PIXELS
    assert Image.MAX_IMAGE_PIXELS == 100


def test_other_files_are_refused_by_name(tmp_path):
    (tmp_path / "notes.png").write_text("day 3: no crystals")
    for name in ("notes.png", "absent.png", "."):
        with pytest.raises(DataError, match=name):
            photographs.read_photograph(tmp_path / name)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, (5, 7), elements=st.floats(0, 255, width=32)), st.floats(50, 200), st.floats(5, 80))
def test_matching_moves_the_mean_and_the_deviation(grey, mean, deviation):
    shifted = photographs.matched(grey, "shift", mean, deviation)
    assert shifted.mean() == pytest.approx(mean, abs=1e-2)
    assert np.ptp((shifted - grey).round(3)) <= 2e-3  # one number is added to all
    scaled = photographs.matched(grey, "scale", mean, deviation)
    assert scaled.mean() == pytest.approx(mean, abs=1e-2)
    if grey.std() > 0.1:
        assert scaled.std() == pytest.approx(deviation, rel=1e-3)
    assert np.array_equal(photographs.matched(grey, "none", mean, deviation), grey)


def test_matching_by_an_unknown_method_is_an_error():
    with pytest.raises(InputError, match="'clahe'"):
        photographs.matched(np.zeros((2, 2), np.float32), "clahe")


def put(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(GREY8).save(path)


def test_images_are_found_in_files_folders_and_patterns_once_each_and_sorted(tmp_path):
    put(*(tmp_path / p for p in ("b.png", "a.JPG", "day1/c.tif", "day2/c.tif", "day2/overlays/c.png", ".hidden.png")))
    (tmp_path / "notes.txt").write_text("no image")

    def found(*places, **options):
        paths = photographs.find_photographs([tmp_path / p for p in places], **options)
        return [p.relative_to(tmp_path).as_posix() for p in paths]

    every = ["a.JPG", "b.png", "day1/c.tif", "day2/c.tif", "day2/overlays/c.png"]
    assert found(".") == ["a.JPG", "b.png"]
    assert found("day2", "b.png", ".") == ["day2/c.tif", "b.png", "a.JPG"]
    assert found("day*/*.tif") == ["day1/c.tif", "day2/c.tif"]
    assert found("**/*") == found(".", recursive=True) == every
    assert found(".", recursive=True, leave_out=tmp_path / "day2") == every[:-1]
    assert found("notes.txt") == ["notes.txt"]  # named, so somebody thinks that it is one
    files = photographs.search([tmp_path], recursive=True).files
    assert [f.name for f in files] == every
    files = photographs.search([tmp_path / "b.png", tmp_path / "day*/*.tif"]).files
    assert [f.name for f in files] == ["b.png", "day1/c.tif", "day2/c.tif"]  # which share a name


@pytest.mark.parametrize(("place", "named"), [("empty", "--recursive"), ("absent", "absent"), ("*.gif", r"\*\.gif")])
def test_places_without_images_are_errors(tmp_path, place, named):
    (tmp_path / "empty").mkdir()
    put(tmp_path / "a.png")
    with pytest.raises(DataError, match=named):
        photographs.find_photographs([tmp_path, tmp_path / place])


def test_damaged_files_are_data_errors_whatever_the_decoder_stumbles_over(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (9, 12), dtype=np.uint8)).save(tmp_path / "whole.tif")
    whole = (tmp_path / "whole.tif").read_bytes()
    refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] = rng.integers(0, 256)
        (tmp_path / "damaged.tif").write_bytes(damaged)
        try:
            grey = photographs.read_photograph(tmp_path / "damaged.tif")
        except DataError:
            refused += 1
        else:
            assert np.isfinite(grey).all()
    assert refused > 40


def test_numbers_that_are_not_finite_are_refused_with_a_white_level_too():
    for white in (None, 1.0):
        with pytest.raises(DataError, match="no finite numbers"):
            photographs.grey_values(np.array([[0.5, np.nan]]), white)
